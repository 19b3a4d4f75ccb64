//! Why a trained network cannot be used.

use crate::data::DataError;
use crate::output::picture::PictureError;
use crate::system::files::{FileError, OutputError};
use crate::train::backend::DeviceError;
use crate::train::checkpoint::CheckpointError;
use crate::train::plans::PlanError;
use std::path::PathBuf;

/// A trained network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The weights do not fit the network.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// An image cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be written where the user wants it.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Two images would be written to one file.
    #[error("two of the images would be written to {}: restore them one by one, to different folders", path.display())]
    SameName {
        /// The file.
        path: PathBuf,
    },
}
