//! The report of `resconv data`: where the dataset is, and that its files are right.

use std::fmt;
use std::path::PathBuf;

use indicatif::HumanCount;

use super::error::DataError;
use super::fetch::fetch;
use super::known::{DatasetFolder, FILES, KnownFile};
use super::load::{read_found, read_known};
use super::locate::Search;
use crate::system::files::FileError;

/// One checked file of the dataset.
#[derive(Debug)]
struct FileReport {
    /// The file.
    path: PathBuf,
    /// Its length in bytes, compressed or not.
    bytes: u64,
    /// The file of the dataset that it is.
    known: &'static KnownFile,
}

/// Where the dataset is, and its files, which all have the right content.
#[derive(Debug)]
pub struct DatasetReport {
    /// The folder.
    folder: DatasetFolder,
    /// The files in the order of [`FILES`].
    files: Vec<FileReport>,
}

impl fmt::Display for DatasetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Fashion-MNIST is in {}", self.folder)?;
        for FileReport { path, bytes, known } in &self.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let content = match known.dims {
                [images, height, width] => format!("{} images of {height} x {width}", HumanCount((*images).into())),
                dims => format!("{} labels", HumanCount(dims.iter().map(|&dim| u64::from(dim)).product())),
            };
            let bytes = HumanCount(*bytes).to_string();
            writeln!(f, "  {name:26} {bytes:>10} bytes  {content:24}  SHA-256 {} ok", known.sha256)?;
        }
        write!(f, "(sums are of the uncompressed content)")
    }
}

/// Finds or fetches the dataset as a run does, and checks every file.
///
/// # Errors
/// [`DataError`] if it is not found and cannot be fetched, or one of its files is wrong.
pub fn check(search: &Search, status: &dyn Fn(&str)) -> Result<DatasetReport, DataError> {
    let (folder, _) = read_found(search, read_known, status, &|cache| fetch(cache, status))?;
    let mut files = Vec::with_capacity(FILES.len());
    for (known, path) in folder.files() {
        let bytes = path.metadata().map_err(FileError::at("read", &path))?.len();
        files.push(FileReport { path, bytes, known });
    }
    Ok(DatasetReport { folder, files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::FoundBy;
    use crate::data::known::{TEST_LABELS, TRAIN_IMAGES};

    #[test]
    fn it_tells_folder_files_counts_and_sums() {
        let folder = DatasetFolder { path: "/d".into(), found_by: FoundBy::System };
        let file = |name: &str, bytes, known| FileReport { path: folder.path.join(name), bytes, known };
        let files = vec![
            file("train-images-idx3-ubyte.gz", 26_421_856, &TRAIN_IMAGES),
            file("t10k-labels-idx1-ubyte", 10_008, &TEST_LABELS),
        ];
        let expected = "\
Fashion-MNIST is in /d (system package)
  train-images-idx3-ubyte.gz 26,421,856 bytes  60,000 images of 28 x 28  SHA-256 c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 ok
  t10k-labels-idx1-ubyte         10,008 bytes  10,000 labels             SHA-256 0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 ok
(sums are of the uncompressed content)";
        assert_eq!(DatasetReport { folder, files }.to_string(), expected);
    }
}
