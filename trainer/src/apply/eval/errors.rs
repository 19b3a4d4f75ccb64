//! Where a network errs: in the image, for each missing half, and for each class.

use crate::system::files::{self, FileError};
use crate::system::json;
use crate::tasks::Half;
use engine::Element;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 28;

/// Fashion-MNIST's classes, by their numbers.
pub(super) const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Mean absolute errors over the validation images, with running statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Side of the images in pixels.
    pub size: usize,
    /// For each missing half, in the order of [`Half::ALL`].
    pub halves: Vec<HalfErrors>,
    /// For each class, in the order of their numbers.
    pub classes: Vec<ClassErrors>,
}

/// The errors of the images that lack one half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfErrors {
    /// The half.
    pub missing: String,
    /// Number of images.
    pub images: u32,
    /// The mean error of each pixel `[size][size]`, to 5 decimals.
    #[serde(deserialize_with = "json::nulls_are_nan")]
    pub pixels: Vec<f64>,
}

/// The errors of the images of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassErrors {
    /// Its name.
    pub class: String,
    /// Number of images.
    pub images: u32,
    /// Their mean error, to 7 decimals.
    #[serde(deserialize_with = "json::null_is_nan")]
    pub loss: f64,
}

impl Errors {
    /// Writes them as JSON.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::write_json(path, serde_json::to_string(self))
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read, or does not have this form.
    pub fn read(path: &Path) -> Result<Errors, FileError> {
        let errors: Errors = files::read_json(path, MAX_BYTES)?;
        let pixels = errors.size.saturating_mul(errors.size);
        if pixels == 0 || errors.halves.iter().any(|half| half.pixels.len() != pixels) {
            let reason = format!("expected maps of {0} x {0} pixels", errors.size);
            return Err(FileError::content(path, reason));
        }
        Ok(errors)
    }
}

/// Adds up errors, image by image.
#[derive(Clone, Debug)]
pub(super) struct ErrorSums {
    size: usize,
    /// Sums over the images of each pixel, for each half.
    halves: [Vec<f64>; 4],
    half_images: [u32; 4],
    classes: [f64; CLASSES.len()],
    class_images: [u32; CLASSES.len()],
}

impl ErrorSums {
    pub(super) fn new(size: usize) -> ErrorSums {
        ErrorSums {
            size,
            halves: std::array::from_fn(|_| vec![0.0; size * size]),
            half_images: [0; 4],
            classes: [0.0; CLASSES.len()],
            class_images: [0; CLASSES.len()],
        }
    }

    pub(super) fn clear(&mut self) {
        self.halves.iter_mut().for_each(|sums| sums.fill(0.0));
        (self.half_images, self.class_images) = Default::default();
        self.classes = Default::default();
    }

    /// Adds an image, whose loss is `loss`.
    pub(super) fn add<E: Element>(&mut self, half: Half, class: u8, loss: f64, output: &[E], target: &[E]) {
        for ((sum, &a), &b) in self.halves[half as usize].iter_mut().zip(output).zip(target) {
            *sum += (a.to_f64() - b.to_f64()).abs();
        }
        self.half_images[half as usize] += 1;
        // A dataset that is not Fashion-MNIST may have other classes.
        if let Some(sum) = self.classes.get_mut(usize::from(class)) {
            *sum += loss;
            self.class_images[usize::from(class)] += 1;
        }
    }

    pub(super) fn means(&self) -> Errors {
        let mean = |sum: f64, images: u32, unit: f64| (sum / f64::from(images.max(1)) * unit).round() / unit;
        let half = |half: Half| {
            let images = self.half_images[half as usize];
            let pixels = self.halves[half as usize].iter().map(|&sum| mean(sum, images, 1e5)).collect();
            HalfErrors { missing: half.to_string(), images, pixels }
        };
        let class = |(i, name): (usize, &&str)| {
            let images = self.class_images[i];
            ClassErrors { class: (*name).to_owned(), images, loss: mean(self.classes[i], images, 1e7) }
        };
        Errors {
            size: self.size,
            halves: Half::ALL.map(half).into(),
            classes: CLASSES.iter().enumerate().map(class).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_means_over_the_images_of_a_half_and_of_a_class() {
        let mut sums = ErrorSums::new(2);
        sums.add(Half::Top, 3, 9.0, &[9f32; 4], &[0.0; 4]);
        sums.clear();
        sums.add(Half::Left, 1, 0.25, &[0f32, 1.0, 0.0, 0.0], &[0.0; 4]);
        sums.add(Half::Left, 2, 0.75, &[1f32, 1.0, 0.0, 1.0], &[0.0; 4]);
        sums.add(Half::Bottom, 1, 0.5, &[0f32, 0.0, 0.5, 0.5], &[0.0, 0.0, 1.0, 1.0]);
        // A class that the dataset does not have.
        sums.add(Half::Bottom, 10, 0.5, &[0f32, 0.0, 0.5, 0.5], &[0.0, 0.0, 1.0, 1.0]);
        let errors = sums.means();
        assert_eq!(errors.halves[0].pixels, [0.5, 1.0, 0.0, 0.5]);
        assert_eq!(errors.halves[3].pixels, [0.0, 0.0, 0.5, 0.5]);
        assert_eq!(errors.halves.iter().map(|half| half.images).collect::<Vec<_>>(), [2, 0, 0, 2]);
        assert_eq!([errors.classes[1].loss, errors.classes[2].loss, errors.classes[3].loss], [0.375, 0.75, 0.0]);
        assert_eq!((errors.classes[1].class.as_str(), errors.classes[1].images), ("Trouser", 2));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.json");
        errors.write(&path).unwrap();
        assert_eq!(Errors::read(&path).unwrap(), errors);
        sums.add(Half::Left, 1, f64::NAN, &[f32::NAN; 4], &[0.0; 4]);
        let errors = sums.means();
        errors.write(&path).unwrap();
        let read = Errors::read(&path).unwrap();
        assert!(read.classes[1].loss.is_nan() && read.halves[0].pixels.iter().all(|error| error.is_nan()));
        assert_eq!((&read.halves[3], &read.classes[2]), (&errors.halves[3], &errors.classes[2]));
        std::fs::write(
            &path,
            r#"{"size": 3, "halves": [{"missing": "left", "images": 1, "pixels": [0]}], "classes": []}"#,
        )
        .unwrap();
        let message = Errors::read(&path).unwrap_err().to_string();
        assert!(message.contains("errors.json: expected maps of 3 x 3 pixels"), "{message}");
    }
}
