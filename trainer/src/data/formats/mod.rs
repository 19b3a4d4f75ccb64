//! The formats that datasets come in, and reading the images of a run in whichever they are.
//!
//! A format has a file here, in which something implements [`FolderFormat`], and a row in the table below.

mod cifar;
mod fashion_mnist;
mod idx;
mod pictures;

pub(super) use fashion_mnist::with_advice;
pub(crate) use pictures::picture_files;

use super::dataset::Dataset;
use super::error::DataError;
use super::known::FoundBy;
use super::locate::Search;
use super::patches::Fit;
use clap::ValueEnum;
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;

/// The images of a run.
#[derive(Debug)]
pub struct Data {
    /// Those to train with.
    pub train: Dataset,
    /// Those to validate with.
    pub validation: Dataset,
    /// How they become squares.
    pub fit: Fit,
    /// What they are and where they are from, to tell the user.
    pub description: String,
    /// Whether they are Fashion-MNIST, with its published checksums.
    pub is_fashion_mnist: bool,
}

/// Which images a run is to have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataRequest {
    /// Where they are: `--data` and the places where Fashion-MNIST is looked for.
    pub search: Search,
    /// The format of what is there.
    pub format: Format,
    /// Side of the squares that the network sees, in pixels.
    pub size: usize,
    /// How images become squares of that size; absent for what suits the format.
    pub fit: Option<Fit>,
    /// Whether colours turn to grey.
    pub grey: bool,
    /// The part of the images that is kept for validation, if the dataset does not say which.
    pub validation_share: f64,
    /// Bytes that decoded pictures may take; the others are decoded whenever they are needed.
    pub memory_limit: usize,
    /// Whether picture files that cannot be read are left out.
    pub skip_unreadable: bool,
}

/// Defines the formats and their order from one table: what a folder may hold, the name, and what reads it. `Auto`
/// takes the first format of which a folder has the files.
macro_rules! formats {
    ($($(#[$help:meta])* $name:ident: $reader:expr;)*) => {
        /// The format of a dataset.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
        #[serde(rename_all = "kebab-case")]
        pub enum Format {
            /// Whatever is in the folder; without a folder, Fashion-MNIST
            #[default]
            Auto,
            $($(#[$help])* $name,)*
        }

        const FORMATS: &[(Format, &dyn FolderFormat)] = &[$((Format::$name, &$reader)),*];
    };
}

formats! {
    /// Fashion-MNIST, with its published checksums
    FashionMnist: fashion_mnist::FashionMnistFolder;
    /// idx files, as of MNIST, KMNIST and EMNIST, of any number and size of images
    Idx: idx::IdxFolder;
    /// The binary files of CIFAR-10
    Cifar10: cifar::CIFAR_10;
    /// The binary files of CIFAR-100
    Cifar100: cifar::CIFAR_100;
    /// PNG, JPEG, WebP and BMP files, in the folder and in the folders inside it
    Pictures: pictures::PictureFolder;
}

/// A format of datasets, each of which is a folder.
trait FolderFormat: Sync {
    /// The files that such a folder has, for messages.
    fn files(&self) -> String;

    /// Whether a folder has them.
    fn is_in(&self, folder: &Path) -> bool;

    /// Reads the images of a folder, which need not have them. `status` gets a line for everything that takes long or
    /// may surprise.
    fn read(&self, folder: &Path, request: &DataRequest, status: &dyn Fn(&str)) -> Result<Data, DataError>;
}

/// As in settings and on the command line.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no format is hidden").get_name())
    }
}

/// Finds, reads and if need be fetches the images. `status` gets a line for everything that takes long or may surprise.
///
/// # Errors
/// [`DataError`].
pub fn open(request: &DataRequest, status: &dyn Fn(&str)) -> Result<Data, DataError> {
    let format = found(request)?;
    let reader = FORMATS.iter().find(|(other, _)| *other == format).map(|(_, reader)| reader);
    match (&request.search.argument, reader) {
        (Some(folder), Some(reader)) => reader.read(folder, request, status),
        _ => fashion_mnist::open(request, status),
    }
}

/// The format that is asked for, or else that of what is there; never `Auto`.
///
/// # Errors
/// [`DataError`] if there is no folder, or nothing known in it.
pub(super) fn found(request: &DataRequest) -> Result<Format, DataError> {
    let Some(folder) = &request.search.argument else {
        return match request.format {
            Format::Auto | Format::FashionMnist => Ok(Format::FashionMnist),
            format => Err(DataError::NoFolder { format: format.to_string() }),
        };
    };
    if folder.read_dir().is_err() {
        return Err(no_dataset(folder, "is not a folder that can be read".to_owned()));
    }
    if request.format != Format::Auto {
        return Ok(request.format);
    }
    FORMATS.iter().find(|(_, reader)| reader.is_in(folder)).map(|(format, _)| *format).ok_or_else(|| unknown(folder))
}

/// The error of a folder that holds nothing known.
fn unknown(folder: &Path) -> DataError {
    let known: Vec<String> =
        FORMATS.iter().map(|(format, reader)| format!("\n  {format}: {}", reader.files())).collect();
    no_dataset(
        folder,
        format!("holds no images in a known format; looked for{}\nand found {}", known.concat(), contents(folder)),
    )
}

/// The error of a folder that lacks the files of the format that was asked for.
fn lacks(folder: &Path, what: &str, files: &str) -> DataError {
    no_dataset(folder, format!("holds no {what}; looked for {files}, and found {}", contents(folder)))
}

fn no_dataset(folder: &Path, problem: String) -> DataError {
    DataError::NoDataset { found_by: FoundBy::Argument, path: folder.to_owned(), problem }
}

/// Most names of a list that are told.
const NAMES: usize = 5;

/// What is in a folder, in short.
fn contents(folder: &Path) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| format!("{}{}", entry.file_name().display(), if entry.path().is_dir() { "/" } else { "" }))
        .collect();
    names.sort();
    if names.is_empty() { "nothing".to_owned() } else { some_of(&names) }
}

/// The first names of a list, and how many more there are.
fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A number of things, of which one has this name: `1 picture`, `1,200 pictures`.
pub(super) fn counted(count: usize, name: &str) -> String {
    format!("{} {name}{}", HumanCount(count as u64), if count == 1 { "" } else { "s" })
}

/// As runs tell it: `photos (--data): 900 pictures to train with, 100 to validate with (a share of 0.1, drawn)`.
fn description(folder: &Path, [train, validation]: [&Dataset; 2], what: &str, split: &str) -> String {
    format!(
        "{} ({}): {} to train with, {} to validate with ({split})",
        folder.display(),
        FoundBy::Argument,
        counted(train.len(), what),
        HumanCount(validation.len() as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_one_name_everywhere() {
        let names: Vec<String> = Format::value_variants().iter().map(Format::to_string).collect();
        assert_eq!(names, ["auto", "fashion-mnist", "idx", "cifar10", "cifar100", "pictures"]);
        for format in Format::value_variants() {
            let name = serde_json::to_string(&format.to_string()).unwrap();
            assert_eq!(serde_json::to_string(format).unwrap(), name);
            assert_eq!(serde_json::from_str::<Format>(&name).unwrap(), *format);
        }
        assert!(Format::value_variants()[1..].iter().eq(FORMATS.iter().map(|(format, _)| format)));
    }

    #[test]
    fn a_folder_that_lacks_the_files_of_its_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for i in 0..7 {
            fs::write(folder.path().join(format!("{i}.txt")), b"").unwrap();
        }
        let refused = |format, argument| {
            let search = Search { argument, ..Search::default() };
            open(&DataRequest { search, format, ..DataRequest::default() }, &|_| ()).unwrap_err().to_string()
        };
        let begin = format!("--data: {} ", folder.path().display());
        for (format, told) in [
            (Format::FashionMnist, "does not hold Fashion-MNIST: train-images-idx3-ubyte[.gz], "),
            (Format::Idx, "holds no idx files of training images; looked for [NAME-]train-images-idx3-ubyte[.gz] "),
            (Format::Cifar10, "holds no binary files of CIFAR-10; looked for data_batch_1.bin to data_batch_5.bin "),
            (Format::Cifar100, "holds no binary files of CIFAR-100; looked for train.bin and test.bin, or "),
            (Format::Pictures, "holds no pictures; looked for files .png, "),
            (Format::Auto, "holds no images in a known format; looked for\n  fashion-mnist: train-images"),
        ] {
            let message = refused(format, Some(folder.path().to_owned()));
            assert!(message.starts_with(&format!("{begin}{told}")), "{message}");
            if ![Format::FashionMnist, Format::Pictures].contains(&format) {
                assert!(message.ends_with("found 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more"), "{message}");
            }
        }
        let none = folder.path().join("none");
        let told = format!("--data: {} is not a folder that can be read", none.display());
        assert_eq!(refused(Format::Pictures, Some(none)), told);
        let told = "--data-format cifar10: say by --data which folder has the images";
        assert_eq!(refused(Format::Cifar10, None), told);
    }
}
