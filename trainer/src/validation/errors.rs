//! Where a network errs: in the image, for each missing half, and for each class.

use super::mean::Mean;
use crate::system::files::{self, FileError};
use crate::system::json;
use crate::tasks::Half;
use engine::Element;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 28;

/// Mean absolute errors over the validation images, with running statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Side of the images in pixels.
    pub size: usize,
    /// For each half that an image lacks, in the order of [`Half::ALL`].
    pub halves: Vec<HalfErrors>,
    /// For each class that an image has, in the order of their numbers.
    pub classes: Vec<ClassErrors>,
}

/// The errors of the images that lack one half; of all images, if the task takes no halves away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfErrors {
    /// The half, or `all images`.
    pub missing: String,
    /// Number of images.
    pub images: u32,
    /// The mean error of each pixel `[size][size]`, to 5 decimals.
    #[serde(deserialize_with = "json::nulls_are_nan")]
    pub pixels: Vec<f64>,
}

/// The name of the map of a task that takes no halves away.
const ALL_IMAGES: &str = "all images";

/// The errors of the images of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassErrors {
    /// Its name, or its number where the dataset is not a known one.
    pub class: String,
    /// Number of images.
    pub images: u32,
    /// Their mean error, to 7 decimals.
    #[serde(deserialize_with = "json::null_is_nan")]
    pub loss: f64,
}

impl HalfErrors {
    /// What images they are of: `left missing`.
    pub(crate) fn title(&self) -> String {
        if self.missing == ALL_IMAGES { self.missing.clone() } else { format!("{} missing", self.missing) }
    }
}

impl Errors {
    /// Whether they are of a task that takes halves away.
    pub(crate) fn has_halves(&self) -> bool {
        self.halves.iter().any(|half| half.missing != ALL_IMAGES)
    }

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
        let mut errors: Errors = files::read_json(path, MAX_BYTES)?;
        // Earlier versions had zeros for what has no images.
        errors.halves.retain(|half| half.images > 0);
        errors.classes.retain(|class| class.images > 0);
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
    /// For each half, and last for images that lack none of them.
    halves: [HalfSums; 5],
    /// The losses of every class that occurs.
    classes: BTreeMap<u8, Mean>,
}

#[derive(Clone, Debug)]
struct HalfSums {
    images: u32,
    /// The sum over the images of each pixel's error.
    pixels: Vec<f64>,
}

impl ErrorSums {
    pub(super) fn new(size: usize) -> ErrorSums {
        let half = |_| HalfSums { images: 0, pixels: vec![0.0; size * size] };
        ErrorSums { size, halves: std::array::from_fn(half), classes: BTreeMap::new() }
    }

    pub(super) fn clear(&mut self) {
        *self = ErrorSums::new(self.size);
    }

    /// Adds an image, whose loss is `loss`.
    pub(super) fn add<E: Element>(
        &mut self,
        half: Option<Half>,
        class: Option<u8>,
        loss: f64,
        output: &[E],
        target: &[E],
    ) {
        let sums = &mut self.halves[half.map_or(Half::ALL.len(), |half| half as usize)];
        let channels = output.len() / sums.pixels.len();
        for ((sum, a), b) in sums.pixels.iter_mut().zip(output.chunks(channels)).zip(target.chunks(channels)) {
            let error: f64 = a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).abs()).sum();
            *sum += error / channels as f64;
        }
        sums.images += 1;
        if let Some(class) = class {
            self.classes.entry(class).or_default().add(loss);
        }
    }

    /// The means, with the names that `name` gives the classes.
    pub(super) fn means(&self, name: impl Fn(u8) -> String) -> Errors {
        let rounded = |mean: f64, unit: f64| (mean * unit).round() / unit;
        let half = |(missing, sums): (String, &HalfSums)| {
            let HalfSums { images, pixels } = sums;
            let pixels = pixels.iter().map(|sum| rounded(sum / f64::from(*images), 1e5)).collect();
            (*images > 0).then_some(HalfErrors { missing, images: *images, pixels })
        };
        let names = Half::ALL.iter().map(Half::to_string).chain([ALL_IMAGES.to_owned()]);
        let class = |(class, mean): (&u8, &Mean)| {
            Some(ClassErrors { class: name(*class), images: mean.count, loss: rounded(mean.get()?, 1e7) })
        };
        Errors {
            size: self.size,
            halves: names.zip(&self.halves).filter_map(half).collect(),
            classes: self.classes.iter().filter_map(class).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_means_over_the_images_of_a_half_and_of_a_class() {
        let mut sums = ErrorSums::new(2);
        sums.add(Some(Half::Top), Some(3), 9.0, &[9f32; 4], &[0.0; 4]);
        sums.clear();
        sums.add(Some(Half::Left), Some(1), 0.25, &[0f32, 1.0, 0.0, 0.0], &[0.0; 4]);
        sums.add(Some(Half::Left), Some(200), 0.75, &[1f32, 1.0, 0.0, 1.0], &[0.0; 4]);
        sums.add(Some(Half::Bottom), Some(1), 0.5, &[0f32, 0.0, 0.5, 0.5], &[0.0, 0.0, 1.0, 1.0]);
        let errors = sums.means(|class| format!("class {class}"));
        // Of halves and classes without images there are no figures.
        let half = |missing: &str, images, pixels: [f64; 4]| HalfErrors {
            missing: missing.to_owned(),
            images,
            pixels: pixels.to_vec(),
        };
        assert_eq!(errors.halves, [half("left", 2, [0.5, 1.0, 0.0, 0.5]), half("bottom", 1, [0.0, 0.0, 0.5, 0.5])]);
        let class = |class: &str, images, loss| ClassErrors { class: class.to_owned(), images, loss };
        assert_eq!(errors.classes, [class("class 1", 2, 0.375), class("class 200", 1, 0.75)]);
    }

    #[test]
    fn a_task_without_halves_has_one_map() {
        let mut sums = ErrorSums::new(1);
        sums.add(None, None, 0.5, &[0f32, 0.5, 1.0], &[0.0; 3]);
        sums.add(None, None, 0.25, &[0.25f32; 3], &[0.0; 3]);
        let errors = sums.means(|_| String::new());
        let [map] = &errors.halves[..] else { panic!("{errors:?}") };
        assert_eq!((map.images, &map.pixels[..], map.title().as_str()), (2, &[0.375][..], "all images"));
        assert!(!errors.has_halves());
        sums.add(Some(Half::Top), None, 0.5, &[0f32; 3], &[0.0; 3]);
        let errors = sums.means(|_| String::new());
        assert_eq!(errors.halves.iter().map(HalfErrors::title).collect::<Vec<_>>(), ["top missing", "all images"]);
        assert!(errors.has_halves());
    }

    #[test]
    fn errors_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.json");
        let mut sums = ErrorSums::new(2);
        sums.add(Some(Half::Right), Some(7), 0.75, &[1f32, 1.0, 0.0, 1.0], &[0.0; 4]);
        let errors = sums.means(|class| class.to_string());
        errors.write(&path).unwrap();
        assert_eq!(Errors::read(&path).unwrap(), errors);
        sums.add(Some(Half::Left), Some(1), f64::NAN, &[f32::NAN; 4], &[0.0; 4]);
        sums.means(|class| class.to_string()).write(&path).unwrap();
        let read = Errors::read(&path).unwrap();
        assert!(read.classes[0].loss.is_nan() && read.halves[0].pixels.iter().all(|error| error.is_nan()));
        assert_eq!((&read.halves[1], &read.classes[1]), (&errors.halves[0], &errors.classes[0]));

        let file = |size: usize, images: u32| {
            let halves = format!(r#"[{{"missing": "left", "images": {images}, "pixels": [0]}}]"#);
            let classes = r#"[{"class": "Bag", "images": 0, "loss": 0.0}]"#;
            std::fs::write(&path, format!(r#"{{"size": {size}, "halves": {halves}, "classes": {classes}}}"#)).unwrap();
            Errors::read(&path)
        };
        let message = file(3, 1).unwrap_err().to_string();
        assert!(message.contains("errors.json: expected maps of 3 x 3 pixels"), "{message}");
        assert_eq!(file(1, 0).unwrap(), Errors { size: 1, halves: Vec::new(), classes: Vec::new() });
    }
}
