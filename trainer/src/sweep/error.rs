//! Why a sweep fails or stops.

use crate::data::DataError;
use crate::published::PublishedError;
use crate::settings::SettingsError;
use crate::system::files::FileError;
use crate::train::{FolderError, Stopped, TrainError};
use std::path::PathBuf;

/// A sweep cannot begin, or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sweep file is not of the right form.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The value of a flag is wrong.
    #[error("{0}")]
    Flag(String),
    /// The settings of a run are out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The published results cannot be read.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// The folder has a run with the same name and other settings.
    #[error("{}: {source}", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        source: Box<SettingsError>,
    },
    /// The folder has such runs, as a dry run finds.
    #[error("runs of the same names and other settings: {runs}; the first: {first}")]
    OtherRuns {
        /// How many.
        runs: usize,
        /// The first.
        first: Box<SweepError>,
    },
    /// The sweep's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A run cannot be planned.
    #[error("{run}: {source}")]
    Plan {
        /// The run's name.
        run: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// A signal stopped it.
    #[error("stopped by {} in {}; repeat the command to go on", stopped.signal, stopped.out.display())]
    Stopped {
        /// The run that was interrupted.
        stopped: Stopped,
    },
    /// Some runs failed.
    #[error("{failed} of {runs} runs failed, the first: {first}; repeat the command to try them again")]
    Failed {
        /// Number of runs that failed.
        failed: usize,
        /// Number of runs.
        runs: usize,
        /// The first one's name and error.
        first: String,
    },
}
