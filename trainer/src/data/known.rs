//! The dataset's four files, as they should be, and a folder that has them.

use std::fmt;
use std::path::{Path, PathBuf};

/// One of the four files of Fashion-MNIST, as it is uncompressed.
#[derive(Debug)]
pub(crate) struct KnownFile {
    /// Its name, to which `.gz` is added where it is compressed.
    pub name: &'static str,
    /// The dimensions of the array in it.
    pub dims: &'static [u32],
    /// SHA-256 of the uncompressed file, in hexadecimal.
    pub sha256: &'static str,
}

impl KnownFile {
    /// Length of the uncompressed file in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        4 + 4 * self.dims.len() as u64 + self.dims.iter().map(|&dim| u64::from(dim)).product::<u64>()
    }
}

/// Side of the dataset's images in pixels.
pub(crate) const SIDE: usize = 28;

/// Images to train with.
pub(super) const TRAIN_IMAGES: KnownFile = KnownFile {
    name: "train-images-idx3-ubyte",
    dims: &[60_000, SIDE as u32, SIDE as u32],
    sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
};

/// Their classes.
pub(super) const TRAIN_LABELS: KnownFile = KnownFile {
    name: "train-labels-idx1-ubyte",
    dims: &[60_000],
    sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
};

/// Images to validate with.
pub(crate) const TEST_IMAGES: KnownFile = KnownFile {
    name: "t10k-images-idx3-ubyte",
    dims: &[10_000, SIDE as u32, SIDE as u32],
    sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
};

/// Their classes.
pub(super) const TEST_LABELS: KnownFile = KnownFile {
    name: "t10k-labels-idx1-ubyte",
    dims: &[10_000],
    sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
};

/// Fashion-MNIST's classes, by their numbers.
pub(super) const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// All files.
///
/// The sums are those of the uncompressed content, because the same content is distributed in different gzip files. The
/// authors publish MD5 sums of their own gzip files (README of github.com/zalandoresearch/fashion-mnist):
///
/// | file | MD5 |
/// | --- | --- |
/// | `train-images-idx3-ubyte.gz` | `8d4fb7e6c68d591d4c3dfef9ec88bf0d` |
/// | `train-labels-idx1-ubyte.gz` | `25c81989df183df01b3e8a0aad5dffbe` |
/// | `t10k-images-idx3-ubyte.gz` | `bef4ecab320f06d8554ea6380940ec79` |
/// | `t10k-labels-idx1-ubyte.gz` | `bb300cfdad3c16e7a12a480ee83cd310` |
pub(super) const FILES: [&KnownFile; 4] = [&TRAIN_IMAGES, &TRAIN_LABELS, &TEST_IMAGES, &TEST_LABELS];

/// Why a folder was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// The user's `--data`.
    Argument,
    /// The settings of the run that is resumed or repeated.
    Settings,
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
            FoundBy::Settings => "`data` in the settings of the run",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_distributed_files() {
        assert_eq!(FILES.map(KnownFile::bytes), [47_040_016, 60_008, 7_840_016, 10_008]);
    }
}
