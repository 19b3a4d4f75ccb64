//! A folder with the dataset's files.

use super::known::{FILES, KnownFile};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a folder was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The user's `--data`.
    Argument,
    /// The user's `$FASHION_MNIST_DIR`.
    Environment,
    /// The user's cache folder.
    Cache,
    /// The folder of the system's package.
    System,
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FoundBy::Argument => "--data",
            FoundBy::Environment => "$FASHION_MNIST_DIR",
            FoundBy::Cache => "cache folder",
            FoundBy::System => "system package",
        })
    }
}

/// A folder that has all files of the dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatasetFolder {
    /// The folder.
    pub path: PathBuf,
    /// How it was found.
    pub found_by: FoundBy,
}

/// As messages name it: `/usr/share/datasets/fashion-mnist (system package)`.
impl fmt::Display for DatasetFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.found_by)
    }
}

impl DatasetFolder {
    /// The files in the order of [`FILES`].
    pub(super) fn files(&self) -> [(&'static KnownFile, PathBuf); 4] {
        FILES.map(|file| (file, find(&self.path, file).unwrap_or_else(|| self.path.join(file.name))))
    }
}

/// The file in `folder`: the plain one if it is there, else the compressed one.
pub(super) fn find(folder: &Path, file: &KnownFile) -> Option<PathBuf> {
    [folder.join(file.name), folder.join(format!("{}.gz", file.name))].into_iter().find(|path| path.is_file())
}

/// The names of the files that `folder` lacks.
pub(super) fn missing(folder: &Path) -> Vec<&'static str> {
    FILES.iter().filter(|file| find(folder, file).is_none()).map(|file| file.name).collect()
}
