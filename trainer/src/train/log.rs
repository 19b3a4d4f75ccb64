//! The tables of a run: CSV files that grow row by row, and lose their last rows when the run is resumed at an earlier
//! step.

use crate::system::files::{self, FileError};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Longest table that is read, in bytes: more rows than any run has.
const MAX_BYTES: u64 = 1 << 30;

/// A CSV file whose first column is the step.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// An empty table, which replaces an existing file.
    pub(super) fn create(path: &Path, header: &str) -> Result<Log, FileError> {
        let file = File::create(path).map_err(FileError::at("create", path))?;
        let mut log = Log { path: path.to_owned(), file: BufWriter::new(file) };
        log.row(format_args!("{header}"))?;
        log.flush()?;
        Ok(log)
    }

    /// The existing table, without the rows of steps that `keep` refuses. A last row without a line break is dropped,
    /// too: an interrupted run may have written only a part of it. Also returns the number of rows that are kept,
    /// without the header.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read or written, or does not begin with `header`.
    pub(super) fn resume(path: &Path, header: &str, keep: impl Fn(u64) -> bool) -> Result<(Log, u64), FileError> {
        let text = files::read_text(path, MAX_BYTES)?;
        let (kept, rows) = cut(path, &text, header, keep)?;
        files::write_bytes(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(FileError::at("open", path))?;
        Ok((Log { path: path.to_owned(), file: BufWriter::new(file) }, rows))
    }

    /// Adds a row. It is in the file after the next [`flush`](Self::flush), or before.
    pub(super) fn row(&mut self, columns: fmt::Arguments<'_>) -> Result<(), FileError> {
        writeln!(self.file, "{columns}").map_err(FileError::at("write", &self.path))
    }

    /// As [`flush`](Self::flush), and makes the rows survive a loss of power.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        self.flush()?;
        match self.file.get_ref().sync_data() {
            // It is not a file on a disk.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result.map_err(FileError::at("write", &self.path)),
        }
    }

    /// Writes the rows that were added.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::at("write", &self.path))
    }
}

/// The text of a table without the rows of steps that `keep` refuses, and without a last line that has no line break.
/// Also returns the number of its rows, without the header. `path` is for messages only.
///
/// # Errors
/// [`FileError`] if it does not begin with `header`, or a row does not begin with a step.
pub fn cut(path: &Path, text: &str, header: &str, keep: impl Fn(u64) -> bool) -> Result<(String, u64), FileError> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    if lines.next().map(str::trim_end) != Some(header) {
        return Err(FileError::content(path, format!("does not begin with the line `{header}`")));
    }
    let mut kept = format!("{header}\n");
    let mut rows = 0;
    for line in lines {
        let step = line.split(',').next().and_then(|step| step.parse().ok());
        let step = step.ok_or_else(|| {
            FileError::content(path, format!("line `{}` does not begin with a step", line.trim_end()))
        })?;
        if keep(step) {
            kept.push_str(line);
            rows += 1;
        }
    }
    Ok((kept, rows))
}

/// The rows of a table whose columns are all numbers.
///
/// # Errors
/// [`FileError`] if the file cannot be read, or a row does not have `N` numbers.
pub(super) fn read<const N: usize>(path: &Path) -> Result<Vec<[f64; N]>, FileError> {
    parse(path, &files::read_text(path, MAX_BYTES)?)
}

/// The rows in the text of a table whose columns are all numbers; the first line is its header. `path` is for messages
/// only.
///
/// # Errors
/// [`FileError`] if a row does not have `N` numbers.
pub fn parse<const N: usize>(path: &Path, text: &str) -> Result<Vec<[f64; N]>, FileError> {
    let row = |line: &str| -> Result<[f64; N], FileError> {
        let columns: Result<Vec<f64>, _> = line.split(',').map(str::parse).collect();
        let columns = columns.ok().and_then(|columns| columns.try_into().ok());
        columns.ok_or_else(|| FileError::content(path, format!("line `{line}`: expected {N} numbers")))
    };
    text.lines().skip(1).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HEADER: &str = "step,loss";

    #[test]
    fn a_resumed_table_is_that_of_an_uninterrupted_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut log = Log::create(&path, HEADER).unwrap();
        (1..=9).for_each(|step| log.row(format_args!("{step},0.5")).unwrap());
        log.flush().unwrap();
        drop(log);
        // The machine stopped in the middle of row 10, whose beginning reads as step 1.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"1").unwrap();

        let (mut log, rows) = Log::resume(&path, HEADER, |step| step <= 7).unwrap();
        assert_eq!(rows, 7);
        log.row(format_args!("8,0.25")).unwrap();
        log.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("step,loss\n1,0.5\n") && text.ends_with("7,0.5\n8,0.25\n"), "{text}");
        assert_eq!(read::<2>(&path).unwrap()[7], [8.0, 0.25]);
    }

    #[test]
    fn foreign_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        for (content, message) in [
            ("a,b\n", "does not begin with the line `step,loss`"),
            ("step,loss\nx,1\n", "line `x,1` does not begin with a step"),
        ] {
            fs::write(&path, content).unwrap();
            let error = Log::resume(&path, HEADER, |_| true).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("metrics.csv"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::write(&path, "step,loss\n1\n").unwrap();
        assert!(read::<2>(&path).unwrap_err().to_string().contains("line `1`: expected 2 numbers"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let error = Log::create(Path::new("/dev/full"), HEADER).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("space"), "{error}");
    }
}
