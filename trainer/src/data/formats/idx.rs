//! idx files of the MNIST family: images and, if they are there, their classes.
//!
//! The names are those of MNIST: `train-images-idx3-ubyte`, and `t10k` or `test` in place of `train`, `labels-idx1` in
//! place of `images-idx3`. They may end with `.gz`, and begin with the name of the dataset, as in
//! `emnist-letters-train-images-idx3-ubyte.gz`.

use super::{Data, DataRequest, FolderFormat, description, lacks, no_dataset};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::idx::{self, Expected, Idx};
use crate::data::patches::Fit;
use crate::data::split::by_share;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Any folder that has a file of training images.
pub(super) struct IdxFolder;

/// Images to train or to test with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Train,
    Test,
}

/// The files of a part.
#[derive(Debug, Default)]
struct Files {
    images: Option<PathBuf>,
    labels: Option<PathBuf>,
}

/// The files of each dataset in a folder, by the name of the dataset.
type Sets = BTreeMap<String, BTreeMap<Part, Files>>;

impl FolderFormat for IdxFolder {
    fn files(&self) -> String {
        "[NAME-]train-images-idx3-ubyte[.gz] and, if there are any, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
         t10k-labels-idx1-ubyte"
            .to_owned()
    }

    fn is_in(&self, folder: &Path) -> bool {
        sets(folder).values().any(|set| set.get(&Part::Train).is_some_and(|files| files.images.is_some()))
    }

    fn read(&self, folder: &Path, request: &DataRequest, _status: &dyn Fn(&str)) -> Result<Data, DataError> {
        let sets = sets(folder);
        if sets.len() > 1 {
            let names: Vec<&str> = sets.keys().map(|name| if name.is_empty() { "MNIST" } else { name }).collect();
            let problem = format!(
                "holds the idx files of several datasets: {}; put one into a folder of its own",
                names.join(", ")
            );
            return Err(no_dataset(folder, problem));
        }
        let (name, mut set) = sets.into_iter().next().unwrap_or_default();
        let orphan = set.values().find(|files| files.images.is_none()).and_then(|files| files.labels.as_deref());
        if let Some(labels) = orphan {
            let labels = labels.file_name().unwrap_or_default().display();
            return Err(no_dataset(folder, format!("holds {labels}, but not the images that it belongs to")));
        }
        let Some(files) = set.remove(&Part::Train) else {
            return Err(lacks(folder, "idx files of training images", &self.files()));
        };
        let is_transposed = name.starts_with("emnist");
        let train = read_part(files, is_transposed)?;
        let (train, validation, split) = match set.remove(&Part::Test) {
            Some(files) => (train, read_part(files, is_transposed)?, "the test files".to_owned()),
            None => {
                let share = request.validation_share;
                let [of_training, of_validation] = by_share(train.0.dims[0] as usize, share).ok_or_else(|| {
                    no_dataset(
                        folder,
                        "holds fewer than two images: expected some to train and to validate with".to_owned(),
                    )
                })?;
                (select(&train, &of_training), select(&train, &of_validation), format!("a share of {share}, drawn"))
            }
        };
        let [train, validation] = [train, validation].map(|(images, labels)| {
            let dataset = Dataset::of_idx(images);
            match labels {
                Some(labels) => dataset.with_labels(labels.data),
                None => dataset,
            }
        });
        let description = description(folder, [&train, &validation], "image", &split);
        let fit = request.fit.unwrap_or(Fit::Resize);
        Ok(Data { train, validation, fit, description, is_fashion_mnist: false })
    }
}

fn sets(folder: &Path) -> Sets {
    let mut sets = Sets::new();
    let mut names: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    // Plain files are taken before compressed ones.
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let Some((set, part, is_images)) = name.to_str().and_then(parse) else { continue };
        if !path.is_file() {
            continue;
        }
        let files = sets.entry(set.to_owned()).or_default().entry(part).or_default();
        let place = if is_images { &mut files.images } else { &mut files.labels };
        place.get_or_insert(path);
    }
    sets
}

/// The dataset, the part, and whether these are images, of a file of this name.
fn parse(name: &str) -> Option<(&str, Part, bool)> {
    let name = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("-ubyte")?;
    let (name, is_images) = match name.strip_suffix("idx3") {
        Some(name) => (name.strip_suffix(['-', '.'])?.strip_suffix("-images")?, true),
        None => (name.strip_suffix("idx1")?.strip_suffix(['-', '.'])?.strip_suffix("-labels")?, false),
    };
    let (set, part) = name.rsplit_once('-').unwrap_or(("", name));
    match part {
        "train" => Some((set, Part::Train, is_images)),
        "test" | "t10k" => Some((set, Part::Test, is_images)),
        _ => None,
    }
}

/// The images and the classes of a part, if they are known.
type Arrays = (Idx, Option<Idx>);

/// Reads a part. EMNIST's images are stored column by column.
fn read_part(files: Files, is_transposed: bool) -> Result<Arrays, DataError> {
    let path = files.images.unwrap_or_default();
    let mut images = idx::read(&path, Expected::Rank(3))?;
    let labels = files.labels.map(|path| idx::read(&path, Expected::Rank(1))).transpose()?;
    let count = images.dims[0];
    let labelled = labels.as_ref().map_or(count, |labels| labels.dims[0]);
    if count == 0 || count != labelled {
        return Err(DataError::Count { path, images: count, labels: labelled });
    }
    if is_transposed {
        transpose(&mut images);
    }
    Ok((images, labels))
}

/// Exchanges rows and columns of all images.
fn transpose(images: &mut Idx) {
    let [height, width] = [1, 2].map(|i| images.dims[i] as usize);
    let mut turned = Vec::with_capacity(height * width);
    for image in images.data.chunks_exact_mut(height * width) {
        turned.clear();
        turned.extend((0..width).flat_map(|column| (0..height).map(move |row| row * width + column)).map(|i| image[i]));
        image.copy_from_slice(&turned);
    }
    images.dims.swap(1, 2);
}

/// Some of the images, and their classes.
fn select((images, labels): &Arrays, items: &[usize]) -> Arrays {
    let of = |idx: &Idx| {
        let bytes = idx.data.len() / idx.dims[0] as usize;
        let mut dims = idx.dims.clone();
        dims[0] = items.len() as u32;
        Idx { dims, data: items.iter().flat_map(|&i| &idx.data[i * bytes..][..bytes]).copied().collect() }
    };
    (of(images), labels.as_ref().map(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::formats::{Format, open};
    use crate::data::locate::Search;

    fn write(folder: &Path, name: &str, dims: &[u32], data: &[u8]) {
        let header = [0, 0, 8, dims.len() as u8].into_iter().chain(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        fs::write(folder.join(name), header.chain(data.iter().copied()).collect::<Vec<u8>>()).unwrap();
    }

    fn read(folder: &Path) -> Result<Data, DataError> {
        let search = Search { argument: Some(folder.to_owned()), ..Search::default() };
        open(&DataRequest { search, validation_share: 0.25, ..DataRequest::default() }, &|_| ())
    }

    #[test]
    fn names_are_those_of_the_family() {
        for (name, expected) in [
            ("train-images-idx3-ubyte", Some(("", Part::Train, true))),
            ("t10k-labels-idx1-ubyte.gz", Some(("", Part::Test, false))),
            ("train-images.idx3-ubyte", Some(("", Part::Train, true))),
            ("emnist-letters-test-images-idx3-ubyte.gz", Some(("emnist-letters", Part::Test, true))),
            ("train-labels-idx3-ubyte", None),
            ("train-imagesidx3-ubyte", None),
            ("qmnist-train-labels-idx2-int.gz", None),
            ("images-idx3-ubyte", None),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }

    #[test]
    fn any_number_of_images_of_any_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "train-images-idx3-ubyte", &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        write(folder, "train-labels-idx1-ubyte", &[2], &[7, 3]);
        write(folder, "t10k-images-idx3-ubyte", &[1, 2, 3], &[9; 6]);
        let Data { train, validation, fit, description, .. } = read(folder).unwrap();
        assert_eq!((train.len(), train.size(0), train.channels(), train.labels()), (2, [2, 3], 1, &[7, 3][..]));
        assert_eq!(train.image(1).unwrap().pixels[..], [6, 7, 8, 9, 10, 11]);
        assert_eq!((validation.len(), validation.label(0), fit), (1, None, Fit::Resize));
        let told = "2 images to train with, 1 to validate with (the test files)";
        assert_eq!(description, format!("{} (--data): {told}", folder.display()));
    }

    #[test]
    fn images_of_emnist_are_turned() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["train", "test"] {
            let name = format!("emnist-digits-{part}-images-idx3-ubyte");
            write(folder.path(), &name, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        }
        let train = read(folder.path()).unwrap().train;
        assert_eq!(train.size(0), [3, 2]);
        assert_eq!(train.image(0).unwrap().pixels[..], [0, 3, 1, 4, 2, 5]);
        assert_eq!(train.image(1).unwrap().pixels[..], [6, 9, 7, 10, 8, 11]);
    }

    #[test]
    fn without_test_files_a_share_is_drawn_with_its_classes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "train-images-idx3-ubyte", &[8, 1, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
        write(folder.path(), "train-labels-idx1-ubyte", &[8], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let Data { train, validation, .. } = read(folder.path()).unwrap();
        let [of_training, of_validation] = by_share(8, 0.25).unwrap();
        for (images, expected) in [(&train, of_training), (&validation, of_validation)] {
            for (i, number) in expected.iter().enumerate() {
                assert_eq!(images.image(i).unwrap().pixels[..], [*number as u8]);
                assert_eq!(images.label(i), Some(*number as u8));
            }
            assert_eq!(images.len(), expected.len());
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let refused = |names: &[(&str, &[u32])]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, dims) in names {
                write(folder.path(), name, dims, &vec![0; dims.iter().product::<u32>() as usize]);
            }
            read(folder.path()).unwrap_err().to_string()
        };
        let images = ("train-images-idx3-ubyte", &[2, 3, 3][..]);
        let message = refused(&[images, ("train-labels-idx1-ubyte", &[3])]);
        assert!(
            message.ends_with("train-images-idx3-ubyte: 2 images and 3 labels; expected as many of each, and not none"),
            "{message}"
        );
        let message = refused(&[images, ("t10k-labels-idx1-ubyte", &[3])]);
        assert!(message.ends_with("holds t10k-labels-idx1-ubyte, but not the images that it belongs to"), "{message}");
        let message = refused(&[images, ("emnist-letters-train-images-idx3-ubyte", &[2, 3, 3])]);
        assert!(message.contains("several datasets: MNIST, emnist-letters; put one "), "{message}");
        let message = refused(&[("train-images-idx3-ubyte", &[1, 3, 3])]);
        assert!(
            message.ends_with("holds fewer than two images: expected some to train and to validate with"),
            "{message}"
        );
    }

    /// MNIST's files have the names of Fashion-MNIST's.
    #[test]
    fn another_dataset_of_the_same_names_can_be_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        for (part, images) in [("train", 3), ("t10k", 2)] {
            write(
                folder.path(),
                &format!("{part}-images-idx3-ubyte"),
                &[images, 28, 28],
                &vec![1; images as usize * 784],
            );
            write(folder.path(), &format!("{part}-labels-idx1-ubyte"), &[images], &vec![1; images as usize]);
        }
        let message = read(folder.path()).unwrap_err().to_string();
        let told = "holds an array of 3 x 28 x 28, expected 60000 x 28 x 28; if this is another dataset, say --data-format idx";
        assert!(message.ends_with(told), "{message}");
        let search = Search { argument: Some(folder.path().to_owned()), ..Search::default() };
        let request = DataRequest { search, format: Format::Idx, ..DataRequest::default() };
        let data = open(&request, &|_| ()).unwrap();
        assert_eq!([data.train.len(), data.validation.len()], [3, 2]);
    }
}
