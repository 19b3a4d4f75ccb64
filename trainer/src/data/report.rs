//! The report of `resconv data`: where the dataset is, what it holds, and that its files are right.

use std::fmt;
use std::path::PathBuf;

use indicatif::HumanCount;

use super::dataset::Dataset;
use super::error::DataError;
use super::fetch::fetch;
use super::formats::{self, Data, DataRequest, Format};
use super::known::{DatasetFolder, FILES, KnownFile};
use super::load::{read_found, read_known};
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

/// What a dataset is.
#[derive(Debug)]
pub struct DatasetReport(Found);

#[derive(Debug)]
enum Found {
    /// Where Fashion-MNIST is, and its files in the order of [`FILES`], which all have the right content.
    FashionMnist(DatasetFolder, Vec<FileReport>),
    /// The images of another dataset.
    Other(Format, Data),
}

impl fmt::Display for DatasetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Found::FashionMnist(folder, files) => write_files(f, folder, files),
            Found::Other(format, data) => {
                write!(f, "{}\n  format          {format}", data.description)?;
                write!(f, "\n  to train with   {}", content(&data.train))?;
                write!(f, "\n  to validate     {}", content(&data.validation))
            }
        }
    }
}

fn write_files(f: &mut fmt::Formatter<'_>, folder: &DatasetFolder, files: &[FileReport]) -> fmt::Result {
    writeln!(f, "Fashion-MNIST is in {folder}")?;
    for FileReport { path, bytes, known } in files {
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

/// How many images there are, and of which kind: `10,000 images in colour, 32 x 32 pixels, of 10 classes`.
fn content(images: &Dataset) -> String {
    let sizes = || (0..images.len()).map(|i| images.size(i));
    let area = |size: &[usize; 2]| size[0] * size[1];
    let [smallest, largest] = [sizes().min_by_key(area), sizes().max_by_key(area)]
        .map(|size| size.map_or_else(String::new, |[height, width]| format!("{width} x {height}")));
    let pixels = if smallest == largest { smallest } else { format!("{smallest} to {largest}") };
    let colour = if images.channels() == 1 { "grey" } else { "colour" };
    let mut classes = images.labels().to_vec();
    classes.sort_unstable();
    classes.dedup();
    let classes = match classes.len() {
        0 => String::new(),
        1 => ", of 1 class".to_owned(),
        classes => format!(", of {classes} classes"),
    };
    format!("{} in {colour}, {pixels} pixels{classes}", formats::counted(images.len(), "image"))
}

/// Finds or fetches the images as a run does. Of Fashion-MNIST, every file is checked.
///
/// # Errors
/// [`DataError`] if it is not found and cannot be fetched, or one of its files is wrong.
pub fn check(request: &DataRequest, status: &dyn Fn(&str)) -> Result<DatasetReport, DataError> {
    let format = formats::found(request)?;
    if format != Format::FashionMnist {
        return Ok(DatasetReport(Found::Other(format, formats::open(request, status)?)));
    }
    let found = read_found(&request.search, read_known, status, &|cache| fetch(cache, status));
    let (folder, _) = found.map_err(|error| formats::with_advice(error, request))?;
    let mut files = Vec::with_capacity(FILES.len());
    for (known, path) in folder.files() {
        let bytes = path.metadata().map_err(FileError::at("read", &path))?.len();
        files.push(FileReport { path, bytes, known });
    }
    Ok(DatasetReport(Found::FashionMnist(folder, files)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::known::{TEST_LABELS, TRAIN_IMAGES};
    use crate::data::{Fit, FoundBy, Image};

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
        assert_eq!(DatasetReport(Found::FashionMnist(folder, files)).to_string(), expected);
    }

    #[test]
    fn of_other_datasets_it_tells_what_they_hold() {
        let train = Dataset::of_equal_size(vec![0; 1200 * 6], [1, 2], 3).with_labels([3, 1, 4].repeat(400));
        let mut validation = Dataset::new(1);
        for (height, width) in [(4, 3), (2, 5), (7, 7)] {
            let pixels = vec![0; height * width].into();
            validation.push(&Image { height, width, channels: 1, pixels });
        }
        let data = Data {
            train,
            validation,
            fit: Fit::Crop,
            description: "/d (--data): images".to_owned(),
            is_fashion_mnist: false,
        };
        let expected = "\
/d (--data): images
  format          cifar10
  to train with   1,200 images in colour, 2 x 1 pixels, of 3 classes
  to validate     3 images in grey, 5 x 2 to 7 x 7 pixels";
        assert_eq!(DatasetReport(Found::Other(Format::Cifar10, data)).to_string(), expected);
    }
}
