//! The folder that a run is written to.

use crate::files::{self, FileError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A run's folder and the files in it.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Why a folder cannot be a run's.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It holds something already.
    #[error(
        "{} is not empty: continue the run in it with --resume, start it over with --force, or choose another folder with --out",
        path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is no checkpoint in it.
    #[error("nothing to resume: there is no {}", path.display())]
    NoCheckpoint {
        /// Where it would be.
        path: PathBuf,
    },
    /// It cannot be read or made.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Folder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned() }
    }

    /// Checks that a new run may have the folder: that there is none, or an empty one.
    ///
    /// # Errors
    /// [`FolderError`] if it is not empty, a file is in its place, or it cannot be looked into.
    pub fn check_new(&self) -> Result<(), FolderError> {
        match fs::read_dir(&self.path) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(FolderError::NotEmpty { path: self.path.clone() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::at("look into", &self.path)(error).into()),
        }
    }

    /// Makes the folder if there is none, and removes what an earlier run left in it.
    ///
    /// # Errors
    /// [`FileError`] if that is not allowed.
    pub fn start(&self) -> Result<(), FileError> {
        files::create_folder(&self.path)?;
        let outputs =
            [self.checkpoint(), self.model(), self.summary(), self.picture(), self.curve_png(), self.curve_svg()];
        for path in outputs {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::at("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `checkpoint.safetensors`, if it is there.
    ///
    /// # Errors
    /// [`FolderError::NoCheckpoint`].
    pub fn existing_checkpoint(&self) -> Result<PathBuf, FolderError> {
        let path = self.checkpoint();
        if path.is_file() { Ok(path) } else { Err(FolderError::NoCheckpoint { path }) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `settings.toml`: the effective settings.
    pub fn settings(&self) -> PathBuf {
        self.path.join("settings.toml")
    }

    /// `metrics.csv`: a row a step.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// `validation.csv`: a row a validation.
    pub fn validation(&self) -> PathBuf {
        self.path.join("validation.csv")
    }

    /// `checkpoint.safetensors`: what `--resume` continues from.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint.safetensors")
    }

    /// `model.safetensors`: the trained network alone, as PyTorch's `state_dict`.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// `summary.json`.
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.json")
    }

    /// `reconstruction.png`: validation images as the network gets and gives them.
    pub fn picture(&self) -> PathBuf {
        self.path.join("reconstruction.png")
    }

    /// `loss.png`: the loss over the run.
    pub fn curve_png(&self) -> PathBuf {
        self.path.join("loss.png")
    }

    /// `loss.svg`: the same.
    pub fn curve_svg(&self) -> PathBuf {
        self.path.join("loss.svg")
    }
}
