//! Renaming, also over a file that another program has open. Only Windows minds that.

pub(super) use system::rename;

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
