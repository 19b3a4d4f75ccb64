//! CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009), in their binary
//! files.

use super::{Data, DataRequest, FolderFormat, description, lacks, no_dataset};
use crate::data::cifar::{Records, SIDE, parse};
use crate::data::dataset::Dataset;
use crate::data::error::DataError;
use crate::data::patches::Fit;
use crate::data::picture_file;
use crate::system::files::FileError;
use std::fs::File;
use std::path::{Path, PathBuf};

/// One of the two datasets.
pub(super) struct Cifar {
    /// Its name in messages.
    name: &'static str,
    /// The folder that the published archive has its files in.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Bytes in front of an image's planes, of which the last is its class.
    header: usize,
    classes: &'static [&'static str],
}

pub(super) const CIFAR_10: Cifar = Cifar {
    name: "CIFAR-10",
    folder: "cifar-10-batches-bin",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    header: 1,
    classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

pub(super) const CIFAR_100: Cifar = Cifar {
    name: "CIFAR-100",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    header: 2,
    classes: &CLASSES_OF_100,
};

#[rustfmt::skip]
const CLASSES_OF_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

impl FolderFormat for Cifar {
    fn files(&self) -> String {
        let train = match self.train {
            [first, .., last] => format!("{first} to {last}"),
            files => files.join(", "),
        };
        format!("{train} and {}, or {} with these", self.test, self.folder)
    }

    fn is_in(&self, folder: &Path) -> bool {
        self.place(folder).is_some()
    }

    fn read(&self, folder: &Path, request: &DataRequest, _status: &dyn Fn(&str)) -> Result<Data, DataError> {
        let Some(place) = self.place(folder) else {
            return Err(lacks(folder, &format!("binary files of {}", self.name), &self.files()));
        };
        let missing: Vec<&str> = self.all().filter(|name| !place.join(name).is_file()).collect();
        if !missing.is_empty() {
            return Err(no_dataset(
                folder,
                format!("does not hold {}: {} not found there", self.name, missing.join(", ")),
            ));
        }
        let train = self.read_files(&place, self.train, request.grey)?;
        let validation = self.read_files(&place, &[self.test], request.grey)?;
        let description = description(folder, [&train, &validation], &format!("{} image", self.name), "the test file");
        let fit = request.fit.unwrap_or(Fit::Resize);
        Ok(Data { train, validation, fit, description, is_fashion_mnist: false })
    }
}

impl Cifar {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Where some of the files are: in the folder, or in the one inside it that the archive has.
    fn place(&self, folder: &Path) -> Option<PathBuf> {
        [folder.to_owned(), folder.join(self.folder)]
            .into_iter()
            .find(|place| self.all().any(|name| place.join(name).is_file()))
    }

    fn read_files(&self, folder: &Path, names: &[&str], is_grey: bool) -> Result<Dataset, DataError> {
        let mut all = Records::default();
        for name in names {
            let path = folder.join(name);
            let file = File::open(&path).map_err(FileError::at("open", &path))?;
            let records = parse(file, self.header, self.classes.len()).map_err(FileError::at("read", &path))?;
            all.pixels.extend(records.pixels);
            all.classes.extend(records.classes);
        }
        let Records { pixels, classes } = all;
        let images = if is_grey {
            Dataset::of_equal_size(picture_file::grey_of_rgb(pixels), [SIDE; 2], 1)
        } else {
            Dataset::of_equal_size(pixels, [SIDE; 2], 3)
        };
        Ok(images.with_labels(classes).with_class_names(self.classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::formats::open;
    use crate::data::locate::Search;
    use std::fs;

    fn open_folder(folder: &Path, grey: bool) -> Result<Data, DataError> {
        let search = Search { argument: Some(folder.to_owned()), ..Search::default() };
        open(&DataRequest { search, grey, ..DataRequest::default() }, &|_| ())
    }

    /// Images whose red is 10 times their number, green grows along rows, and blue along columns.
    fn records(header: &[u8], images: u8) -> Vec<u8> {
        let green = (0..SIDE * SIDE).map(|i| (i % SIDE) as u8);
        let blue = (0..SIDE * SIDE).map(|i| (i / SIDE) as u8);
        let planes: Vec<u8> = green.chain(blue).collect();
        (0..images).flat_map(|i| [header, &vec![i * 10; SIDE * SIDE], &planes].concat()).collect()
    }

    fn write_10(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for (class, name) in CIFAR_10.all().enumerate() {
            fs::write(folder.join(name), records(&[class as u8], 2)).unwrap();
        }
    }

    #[test]
    fn planes_become_pixels() {
        let folder = tempfile::tempdir().unwrap();
        write_10(&folder.path().join("cifar-10-batches-bin"));
        let Data { train, validation, fit, description, .. } = open_folder(folder.path(), false).unwrap();
        assert_eq!((train.len(), train.size(0), train.channels(), fit), (10, [32, 32], 3, Fit::Resize));
        assert_eq!(train.labels(), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
        let image = validation.image(1).unwrap();
        assert_eq!(image.pixels[..6], [10, 0, 0, 10, 1, 0]);
        assert_eq!(image.pixels[(3 * SIDE + 5) * 3..][..3], [10, 5, 3]);
        assert_eq!(validation.class_name(validation.label(0).unwrap()), "dog");
        let told = "10 CIFAR-10 images to train with, 2 to validate with (the test file)";
        assert!(description.ends_with(told), "{description}");

        let grey = open_folder(folder.path(), true).unwrap().validation;
        let pixels = grey.image(1).unwrap().pixels.into_owned();
        assert_eq!((grey.channels(), pixels), (1, picture_file::grey_of_rgb(image.pixels.into_owned())));
    }

    #[test]
    fn of_cifar_100_the_fine_class_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("train.bin"), records(&[19, 99], 3)).unwrap();
        fs::write(folder.path().join("test.bin"), records(&[0, 19], 1)).unwrap();
        let Data { train, validation, .. } = open_folder(folder.path(), false).unwrap();
        assert_eq!((train.labels(), validation.labels()), (&[99; 3][..], &[19][..]));
        assert_eq!([19, 99].map(|class| train.class_name(class)), ["cattle", "worm"]);
        assert_eq!(train.image(2).unwrap().pixels[..3], [20, 0, 0]);
    }

    #[test]
    fn damaged_and_missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_10(folder);
        let refused = || open_folder(folder, false).unwrap_err().to_string();
        let third = folder.join("data_batch_3.bin");
        let whole = fs::read(&third).unwrap();
        fs::write(&third, &whole[..whole.len() - 1]).unwrap();
        let told = "expected from 1 to 1000000 records of 3073 bytes, got 6145 bytes";
        assert_eq!(refused(), format!("could not read {}: {told}", third.display()));
        fs::write(&third, []).unwrap();
        assert!(refused().ends_with("got 0 bytes"));
        let mut wrong = whole;
        wrong[3073] = 10;
        fs::write(&third, wrong).unwrap();
        let told = "record 1: expected a class below 10, got 10";
        assert_eq!(refused(), format!("could not read {}: {told}", third.display()));
        fs::remove_file(&third).unwrap();
        fs::remove_file(folder.join("test_batch.bin")).unwrap();
        let told = "does not hold CIFAR-10: data_batch_3.bin, test_batch.bin not found there";
        assert_eq!(refused(), format!("--data: {} {told}", folder.display()));
    }
}
