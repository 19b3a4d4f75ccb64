//! What is wrong with a checkpoint.

use crate::system::files::FileError;
use std::path::PathBuf;

/// Version of the format that this build writes and reads.
pub(super) const VERSION: &str = "1";

/// Largest file that is read, in bytes. The deepest networks that the settings allow stay below it by far.
pub(super) const MAX_BYTES: u64 = 8 << 30;

/// A checkpoint cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is too large to be one.
    #[error("{}: too large for a checkpoint: more than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not a safetensors file, or a damaged one.
    #[error("{}: not a valid safetensors file: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The checksum does not match: the content was changed after it was written.
    #[error("{}: the content is damaged: its SHA-256 is {got}, the file says {expected}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The checksum in the file.
        expected: String,
        /// The checksum of the content.
        got: String,
    },
    /// Another version of this program wrote it.
    #[error("{}: checkpoint format version {got}, this build reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: String,
    },
    /// It lacks a tensor that the network has.
    #[error("{}: no tensor `{name}` of shape {expected:?}: this is a checkpoint of another network", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the network, in PyTorch's layout.
        expected: Vec<usize>,
    },
    /// It has a tensor that the network lacks.
    #[error("{}: the network has no tensor `{name}`: this is a checkpoint of another network", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape.
    #[error("{}: tensor `{name}`: expected shape {expected:?}, got {got:?}: this is a checkpoint of another network", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the network, in PyTorch's layout.
        expected: Vec<usize>,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// A tensor has another type.
    #[error("{}: tensor `{name}`: expected type {expected}, got {got}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The types that can be read.
        expected: &'static str,
        /// The type in the file.
        got: String,
    },
    /// It has only weights.
    #[error("{}: weights only, without the optimizer's state: it cannot be resumed; begin a new run with --init", path.display())]
    NotResumable {
        /// The file.
        path: PathBuf,
    },
    /// The tensors are not those of a residual encoder and decoder.
    #[error("{}: not a network of this program: {reason}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What is missing or contradictory.
        reason: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}
