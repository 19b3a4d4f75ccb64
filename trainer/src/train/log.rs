//! The run's tables: CSV files that grow by a row at a time, and are cut back when a run is resumed.

use crate::system::files::{self, FileError};
use csv::{QuoteStyle, ReaderBuilder, Writer, WriterBuilder};
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest table that is read, in bytes: more rows than any run has.
const MAX_BYTES: u64 = 1 << 30;

/// A CSV file whose first column is the step.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Writer<File>,
}

impl Log {
    /// An empty table; a file that is there is replaced.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be written.
    pub(super) fn create(path: &Path, header: &str) -> Result<Log, FileError> {
        let file = File::create(path).map_err(FileError::at("create", path))?;
        let mut log = Log { path: path.to_owned(), file: Writer::from_writer(file) };
        log.row(header.split(','))?;
        log.flush()?;
        Ok(log)
    }

    /// The table that is there, without the rows of steps that `keep` refuses. Rows of an interrupted run may be cut
    /// off: what does not end in a line break is dropped too. Columns that an earlier version did not have are empty.
    /// Returns the number of rows kept, without the header.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read or written, or does not begin with `header`, or the first columns of it.
    pub(super) fn resume(path: &Path, header: &str, keep: impl Fn(u64) -> bool) -> Result<(Log, u64), FileError> {
        let text = files::read_text(path, MAX_BYTES)?;
        let (kept, rows) = cut(path, &text, header, keep)?;
        files::write_bytes(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(FileError::at("open", path))?;
        Ok((Log { path: path.to_owned(), file: Writer::from_writer(file) }, rows))
    }

    /// Adds a row. It is in the file after the next [`flush`](Self::flush), or before.
    ///
    /// # Errors
    /// [`FileError`] if the disk is full.
    pub(super) fn row(&mut self, columns: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<(), FileError> {
        self.file.write_record(columns).map_err(|error| FileError::at("write", &self.path)(error.into()))
    }

    /// As [`flush`](Self::flush), and makes it survive a loss of power.
    ///
    /// # Errors
    /// [`FileError`] if the disk is full or fails.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        self.flush()?;
        files::sync(self.file.get_ref()).map_err(FileError::at("write", &self.path))
    }

    /// Writes what has been added.
    ///
    /// # Errors
    /// [`FileError`] if the disk is full.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::at("write", &self.path))
    }
}

/// The text of a table without the rows of steps that `keep` refuses, and without a last line that does not end. If it
/// has only the first columns of `header`, the others are added, empty. Also returns the number of its rows, without
/// the header. `path` is for messages only.
///
/// # Errors
/// [`FileError`] if it does not begin with `header` or the first columns of it, or a row does not begin with a step.
pub fn cut(path: &Path, text: &str, header: &str, keep: impl Fn(u64) -> bool) -> Result<(String, u64), FileError> {
    // Quotes mean nothing in these tables, so that a line of the file is a row.
    let mut reader = ReaderBuilder::new().quoting(false).from_reader(whole_lines(text).as_bytes());
    let had = reader.headers().map_err(invalid(path))?;
    let columns = had.len();
    if columns == 0 || !had.iter().eq(header.split(',').take(columns)) {
        return Err(invalid(path)(format!("does not begin with the line `{header}`")));
    }
    let mut kept = WriterBuilder::new().quote_style(QuoteStyle::Never).from_writer(Vec::new());
    kept.write_record(header.split(',')).map_err(invalid(path))?;
    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(invalid(path))?;
        let step = record[0].parse().map_err(|_| invalid(path)(format!("`{}` is not a step", &record[0])))?;
        if keep(step) {
            let added = header.split(',').skip(columns).map(|_| "");
            kept.write_record(record.iter().chain(added)).map_err(invalid(path))?;
            rows += 1;
        }
    }
    let kept = kept.into_inner().map_err(invalid(path))?;
    Ok((String::from_utf8(kept).map_err(invalid(path))?, rows))
}

/// The rows of a table.
///
/// # Errors
/// [`FileError`] if the file cannot be read, or a row has not the columns of an `R`.
pub(crate) fn read<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>, FileError> {
    parse(path, &files::read_text(path, MAX_BYTES)?)
}

/// The second column of the last row of a table: the training images seen, in the table of the steps. Only the end of
/// the file is read.
pub(super) fn last_samples(path: &Path) -> Option<u64> {
    /// More than two rows have.
    const END: u64 = 1 << 10;
    let mut file = File::open(path).ok()?;
    let from = file.metadata().ok()?.len().saturating_sub(END);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut end = String::new();
    file.take(2 * END).read_to_string(&mut end).ok()?;
    whole_lines(&end).lines().next_back()?.split(',').nth(1)?.parse().ok()
}

/// The rows in the text of a table, without a last line that does not end. `path` is for messages only.
///
/// # Errors
/// [`FileError`] if a row has not the columns of an `R`.
pub fn parse<R: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<R>, FileError> {
    let mut reader = csv::Reader::from_reader(whole_lines(text).as_bytes());
    reader.deserialize().collect::<Result<_, _>>().map_err(invalid(path))
}

/// A text without a last line that does not end: its writer may have been in the middle of it.
fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn invalid<E: Into<Box<dyn Error + Send + Sync>>>(path: &Path) -> impl Fn(E) -> FileError {
    move |reason| FileError::at("use", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    const HEADER: &str = "step,loss";

    #[test]
    fn a_resumed_table_is_that_of_an_uninterrupted_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut log = Log::create(&path, HEADER).unwrap();
        (1..=9).for_each(|step| log.row([&step.to_string(), "0.5"]).unwrap());
        log.flush().unwrap();
        drop(log);
        // The machine stopped in the middle of row 10, whose beginning reads as step 1.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"1").unwrap();

        let (mut log, rows) = Log::resume(&path, HEADER, |step| step <= 7).unwrap();
        assert_eq!(rows, 7);
        log.row(["8", "0.25"]).unwrap();
        log.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("step,loss\n1,0.5\n") && text.ends_with("7,0.5\n8,0.25\n"), "{text}");
        assert_eq!(read::<[f64; 2]>(&path).unwrap()[7], [8.0, 0.25]);
    }

    #[test]
    fn columns_that_earlier_versions_did_not_have_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validation.csv");
        fs::write(&path, "step,loss\n1,0.5\n2,0.25\n").unwrap();
        let (mut log, rows) = Log::resume(&path, "step,loss,psnr,ssim", |step| step < 2).unwrap();
        log.row(["2", "0.25", "30.5", ""]).unwrap();
        log.flush().unwrap();
        assert_eq!(
            (rows, fs::read_to_string(&path).unwrap().as_str()),
            (1, "step,loss,psnr,ssim\n1,0.5,,\n2,0.25,30.5,\n")
        );
        // Other columns, more of them, and none are not those of an earlier version.
        for content in ["step,lr\n1,2\n", "step,loss,psnr,ssim,x\n", "loss,step\n", ""] {
            assert!(cut(&path, content, "step,loss,psnr,ssim", |_| true).is_err(), "{content}");
        }
    }

    #[test]
    fn foreign_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        for (content, message) in
            [("a,b\n", "does not begin with the line `step,loss`"), ("step,loss\nx,1\n", "`x` is not a step")]
        {
            fs::write(&path, content).unwrap();
            let error = Log::resume(&path, HEADER, |_| true).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("metrics.csv"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::write(&path, "step,loss\n1\n").unwrap();
        assert!(
            read::<[f64; 2]>(&path).unwrap_err().to_string().contains("line: 2, byte: 10): found record with 1 fields")
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let error = Log::create(Path::new("/dev/full"), HEADER).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("space"), "{error}");
    }
}
