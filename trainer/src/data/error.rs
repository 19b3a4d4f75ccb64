//! Why there is no dataset.

use super::fetch::FetchError;
use super::idx::IdxError;
use super::known::FoundBy;
use super::picture_file::PictureError;
use crate::system::files::FileError;
use std::path::PathBuf;

/// The dataset is not available.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder that the user named does not hold the dataset, or not one that can be used.
    #[error("{found_by}: {} {problem}{}", path.display(), advice(*found_by))]
    NoDataset {
        /// How the folder was named.
        found_by: FoundBy,
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, as what follows its name.
        problem: String,
    },
    /// No folder was named, and this format is not looked for anywhere.
    #[error("--data-format {format}: say by --data which folder has the images")]
    NoFolder {
        /// The format.
        format: String,
    },
    /// The files have the names of those of Fashion-MNIST, which they are not.
    #[error("{0}; if this is another dataset, say --data-format idx")]
    OtherDataset(Box<DataError>),
    /// A file cannot be read, is damaged or is another file.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// A file is intact, but its content is not that of the dataset.
    #[error(
        "{}: wrong content: expected SHA-256 {expected} (of the uncompressed file), got {got}; \
         get the file again, or remove it to have the dataset looked for elsewhere",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The right digest.
        expected: &'static str,
        /// The digest of the file.
        got: String,
    },
    /// A file in the user's cache folder is damaged, and was not replaced.
    #[error("{damage}{}", in_cache(fetch.as_ref()))]
    DamagedCache {
        /// What is wrong, with the file.
        damage: Box<DataError>,
        /// Why it could not be fetched again, if that was tried.
        fetch: Option<FetchError>,
    },
    /// The files of an unverified dataset do not belong together.
    #[error("{}: {images} images and {labels} labels; expected as many of each, and not none", path.display())]
    Count {
        /// The images' file.
        path: PathBuf,
        /// Number of images.
        images: u32,
        /// Number of labels.
        labels: u32,
    },
    /// It is not on this machine, and cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A picture cannot be used.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A file or folder cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

fn advice(found_by: FoundBy) -> &'static str {
    if found_by == FoundBy::Settings { "; say where the dataset is with --data" } else { "" }
}

fn in_cache(fetch: Option<&FetchError>) -> String {
    match fetch {
        Some(reason) => format!("; it is in the cache folder, and could not be fetched again. {reason}"),
        None => "; remove this file to have it fetched again".to_owned(),
    }
}
