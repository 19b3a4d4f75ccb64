//! What a run tells the readers of its folder while it goes on: `live.json`.

use crate::system::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a run expects. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// When it is going to end.
    pub(crate) ends: Option<f64>,
    /// When its sweep is going to end.
    #[serde(default)]
    pub(crate) all_end: Option<f64>,
}

impl Live {
    /// A run that ends after `left`, and its sweep after `all_left`.
    pub(super) fn expects(left: Duration, all_left: Option<Duration>) -> Live {
        let at = |left: Duration| (now() + left.as_secs_f64()).round();
        Live { ends: Some(at(left)), all_end: all_left.map(at) }
    }

    /// The time that the run still takes, as it expected when it wrote this.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.ends.and_then(until)
    }

    /// The time that the sweep still takes.
    pub(crate) fn time_left_in_all(&self) -> Option<Duration> {
        self.all_end.and_then(until)
    }

    /// Reads the file of a run.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, or is damaged.
    pub(crate) fn read(path: &Path) -> Result<Live, FileError> {
        files::read_json(path, MAX_BYTES)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`FileError`] if the disk is full.
    pub(super) fn write(&self, path: &Path) -> Result<(), FileError> {
        files::write_json(path, serde_json::to_string(self))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The time until then; nothing once it has passed by more than a little.
fn until(then: f64) -> Option<Duration> {
    const LATE: f64 = 60.0;
    let left = then - now();
    if left < -LATE { None } else { Duration::try_from_secs_f64(left.max(0.0)).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_shrinks_and_ends() {
        let live = Live::expects(Duration::from_secs(100), Some(Duration::from_secs(500)));
        let left = live.time_left().unwrap().as_secs_f64();
        assert!((98.0..=101.0).contains(&left), "{left}");
        assert!(live.time_left_in_all() > live.time_left());
        let over = Live { ends: Some(now() - 10.0), ..live.clone() };
        assert_eq!(over.time_left(), Some(Duration::ZERO));
        assert_eq!(Live { ends: Some(now() - 1000.0), ..live }.time_left(), None, "the process hangs");
        assert_eq!(Live::default().time_left(), None);
        // Sums that overflow are no time.
        assert_eq!(Live { ends: Some(1e300), ..Live::default() }.time_left(), None);
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.json");
        for live in [Live::expects(Duration::MAX, None), Live::default()] {
            live.write(&path).unwrap();
            assert_eq!(Live::read(&path).unwrap(), live);
        }
    }
}
