//! What is wrong with a checkpoint.

use crate::system::files::FileError;
use std::path::{Path, PathBuf};

/// Version of the format that this build writes and reads.
pub(super) const VERSION: &str = "1";

/// Largest file that is read, in bytes. The deepest networks that the settings allow stay below it by far.
pub(super) const MAX_BYTES: u64 = 8 << 30;

/// A checkpoint cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content cannot be used.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// A setting of a network that its tensors do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub key: &'static str,
    /// Whether it may have the value that a preset has.
    pub may_be_preset: bool,
}

impl Unknown {
    /// One about which the tensors show nothing.
    pub(super) fn any(key: &'static str) -> Unknown {
        Unknown { key, may_be_preset: true }
    }
}

/// What is wrong with the content of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is too large to be a checkpoint.
    #[error("too large for a checkpoint: more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not a safetensors file, or a damaged one.
    #[error("not a valid safetensors file: {0}")]
    Corrupt(String),
    /// It is a pickle of PyTorch. Reading one can run any code that is in it.
    #[error(
        "a pickle, as torch.save writes it, and not a safetensors file; convert it in Python (if there is more in it \
         than a state_dict, save that alone): {0}"
    )]
    Pickle(
        /// The line of Python that makes a safetensors file of it.
        String,
    ),
    /// The checksum does not match: the content was changed after it was written.
    #[error("the content is damaged: its SHA-256 is {got}, the file says {expected}")]
    Checksum {
        /// The checksum in the file.
        expected: String,
        /// The checksum of the content.
        got: String,
    },
    /// A program with another version of the format wrote it.
    #[error("checkpoint format version {0}, this build reads version {VERSION}")]
    Version(String),
    /// A tensor is missing, unexpected, or has another shape than in the network.
    #[error("{0}: this is a checkpoint of another network")]
    OtherNetwork(String),
    /// A tensor has a type that cannot be read.
    #[error("tensor `{name}`: expected type {expected}, got {got}")]
    Type {
        /// The tensor.
        name: String,
        /// The types that can be read.
        expected: &'static str,
        /// The type in the file.
        got: String,
    },
    /// It has only weights.
    #[error("weights only, without the optimizer's state: it cannot be resumed; begin a new run with --init")]
    NotResumable,
    /// It has no settings, and not all of them were said.
    #[error("{}", unsaid(missing))]
    Unsaid {
        /// What is missing, of which its tensors show nothing.
        missing: Vec<Unknown>,
    },
    /// It is a folder, but not that of a run.
    #[error(
        "a folder without model.safetensors and checkpoint.safetensors: expected a file of weights or the folder of a \
         run{}",
        runs_in(runs)
    )]
    NoRun {
        /// The runs in it.
        runs: Vec<PathBuf>,
    },
    /// The tensors are not those of a residual encoder and decoder.
    #[error("not a network of this program: {0}")]
    Architecture(String),
}

/// Which runs there are in a folder that is not that of a run.
fn runs_in(runs: &[PathBuf]) -> String {
    let names: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    if names.is_empty() { String::new() } else { format!(", such as {}", names.join(", ")) }
}

/// What to say about weights without settings.
fn unsaid(missing: &[Unknown]) -> String {
    let keys: Vec<&str> = missing.iter().map(|unknown| unknown.key).collect();
    let flags: Vec<String> = keys.iter().map(|key| format!("--{}", key.replace('_', "-"))).collect();
    let preset = if missing.iter().all(|unknown| unknown.may_be_preset) { "with --preset, " } else { "" };
    format!(
        "weights without settings, which do not show {}: say what it is by --config with the settings.toml of the run, \
         {preset}or with {}",
        keys.join(", "),
        flags.join(" ")
    )
}

impl Problem {
    /// The error of a file with this problem.
    pub fn of(self, path: &Path) -> CheckpointError {
        CheckpointError::Content { path: path.to_owned(), problem: self }
    }
}
