//! Files that replace others: made under a name of their own, and renamed, also over a file that another program has
//! open. Only Windows minds that.

pub(super) use system::rename;

use super::rights::permit;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

/// The end of the names of files that are not complete yet.
const TEMPORARY: &str = ".tmp";

/// A new file in `folder` with these rights, under a name of files that are not complete.
pub(super) fn temporary(folder: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    permit(&mut options, mode);
    // The name is not made from that of the result, which may be as long as a name can be. By `tempfile_in`, the file
    // would be marked as temporary on Windows, also after it is renamed: such files may be left out of backups.
    tempfile::Builder::new().prefix(".resconv-").suffix(TEMPORARY).make_in(folder, |path| options.open(path))
}

/// Renames a temporary file, replacing what is at `to`. The crate's own method takes no long paths on Windows, and does
/// not wait for readers there.
pub(super) fn persist(temporary: NamedTempFile, to: &Path) -> io::Result<()> {
    let mut path = temporary.into_temp_path();
    rename(&path, to)?;
    path.disable_cleanup(true);
    Ok(())
}

/// Whether a file of this name was left by a process that was killed while it wrote.
pub fn is_leftover(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(TEMPORARY))
}

#[cfg(not(windows))]
mod system {
    pub(in super::super) use std::fs::rename;
}

#[cfg(windows)]
mod system {
    use std::io;
    use std::path::Path;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    /// How long other programs may have the file open. Virus scanners and indexers open what was just written, for
    /// moments.
    const PATIENCE: Duration = Duration::from_secs(2);

    const PAUSE: Duration = Duration::from_millis(5);

    /// What Windows says if a file is open in a way that forbids to replace it: `ERROR_ACCESS_DENIED`, which may mean
    /// something else, and `ERROR_SHARING_VIOLATION`.
    const IN_USE: [i32; 2] = [5, 32];

    pub(in super::super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match std::fs::rename(from, to) {
                Err(error)
                    if error.raw_os_error().is_some_and(|code| IN_USE.contains(&code))
                        && begun.elapsed() < PATIENCE =>
                {
                    sleep(PAUSE);
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn replace_with(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = temporary(path.parent().unwrap(), 0o666)?;
        file.write_all(bytes)?;
        persist(file, path)
    }

    #[test]
    fn a_file_is_replaced_while_others_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.json");
        replace_with(&path, &[0; 10_000]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let read = fs::read(&path).unwrap();
                        assert!(read.len() == 10_000 && read.iter().all(|byte| *byte == read[0]));
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            for i in 1..=50 {
                let written = replace_with(&path, &[i; 10_000]);
                done.store(i == 50 || written.is_err(), Ordering::Relaxed);
                written.unwrap();
            }
        });
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["live.json"]);
    }
}
