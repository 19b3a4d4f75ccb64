//! Why a trained network cannot be used.

use crate::data::DataError;
use crate::data::picture_file::PictureError;
use crate::settings::SettingsError;
use crate::system::files::{FileError, OutputError};
use crate::train::backend::DeviceError;
use crate::train::checkpoint::CheckpointError;
use crate::train::plans::PlanError;
use crate::validation::ValidateError;
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
    /// The network cannot be validated.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// A setting does not fit the images.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// An image cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be written where the user wants it.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The dataset is of another number of channels than the images that the network was trained with.
    #[error(
        "the images have {images} channel{}, and those that the network was trained with {network}: expected images \
         with as many", if *images == 1 { "" } else { "s" }
    )]
    OtherChannels {
        /// Those of the dataset.
        images: usize,
        /// Those of the network.
        network: usize,
    },
    /// A mask, or a picture to compare with, is of another size.
    #[error(
        "{}: {} x {} pixels (height x width); expected {} x {}, as {}",
        path.display(), size[0], size[1], expected[0], expected[1], of.display()
    )]
    OtherSize {
        /// The file.
        path: PathBuf,
        /// Its height and width.
        size: [usize; 2],
        /// What it belongs to.
        of: PathBuf,
        /// The height and width of that.
        expected: [usize; 2],
    },
    /// A folder has no pictures.
    #[error("{}: no PNG, JPEG, WebP or BMP pictures in this folder", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// Several pictures are compared with one.
    #[error("--compare: expected a folder of pictures with the same names, got one file for {pictures} pictures")]
    OneTruth {
        /// How many there are.
        pictures: usize,
    },
    /// It is not known what a picture lacks.
    #[error(
        "{}: none of its pixels is missing: say what is missing with --missing or --mask, or make it transparent",
        path.display()
    )]
    NotMissing {
        /// The picture.
        path: PathBuf,
    },
    /// A mask for a network that restores whole pictures.
    #[error("--missing, --mask: the network was trained with --task {task}, which changes whole pictures")]
    NothingMissing {
        /// The network's task.
        task: String,
    },
    /// Even small tiles need too much memory.
    #[error(
        "--memory-limit: the network needs {needed} MiB for the smallest part of a picture, expected at most {limit}"
    )]
    Memory {
        /// MiB that it needs.
        needed: usize,
        /// MiB that it may take.
        limit: usize,
    },
    /// Two images would be written to one file.
    #[error("two of the images would be written to {}: restore them one by one, to different folders", path.display())]
    SameName {
        /// The file.
        path: PathBuf,
    },
}
