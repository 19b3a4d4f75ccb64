//! Images with their classes, in memory.

use super::known::SIDE;

/// Images of 28 x 28 pixels with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    /// Names of the classes, by their numbers; none if they are not known.
    class_names: &'static [&'static str],
}

impl Dataset {
    /// A dataset of `pixels[N][28][28]` (0: black, 255: white) and a class for each image.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>) -> Dataset {
        assert_eq!(pixels.len(), labels.len() * SIDE * SIDE, "pixels for {} images of 28 x 28", labels.len());
        Dataset { pixels, labels, class_names: &[] }
    }

    /// The same with names for its classes, in the order of their numbers.
    pub fn with_class_names(self, class_names: &'static [&'static str]) -> Dataset {
        Dataset { class_names, ..self }
    }

    /// The name of a class if it is known, or its number.
    pub fn class_name(&self, class: u8) -> String {
        self.class_names.get(usize::from(class)).map_or_else(|| class.to_string(), |name| (*name).to_owned())
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of all images.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The classes of all images.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of image `i`, row by row.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * SIDE * SIDE..][..SIDE * SIDE]
    }

    /// Writes images one after another, as numbers from 0 (black) to 1 (white), and their classes.
    ///
    /// # Panics
    /// If there is no such image, or not as many places as images.
    pub fn write_batch(&self, images: impl IntoIterator<Item = usize>, pixels: &mut [f32], classes: &mut [f32]) {
        let mut written = 0;
        for (i, image) in images.into_iter().enumerate() {
            let pixels = &mut pixels[i * SIDE * SIDE..][..SIDE * SIDE];
            pixels.iter_mut().zip(self.image(image)).for_each(|(to, from)| *to = f32::from(*from) / 255.0);
            classes[i] = f32::from(self.label(image));
            written += 1;
        }
        let places = [pixels.len() / (SIDE * SIDE), classes.len()];
        assert_eq!(places, [written; 2], "places for pixels and for classes of {written} images");
    }

    /// The class of image `i`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn label(&self, i: usize) -> u8 {
        self.labels[i]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_gives_its_images() {
        let dataset = Dataset::new((0..2 * 784).map(|i| (i / 784) as u8).collect(), vec![7, 8]);
        assert_eq!((dataset.len(), dataset.label(1)), (2, 8));
        assert_eq!(dataset.image(1), [1; 784]);
        assert_eq!(dataset.class_name(1), "1");
        let (mut pixels, mut classes) = (vec![0.0; 3 * 784], [0.0; 3]);
        dataset.write_batch([1, 0, 1], &mut pixels, &mut classes);
        assert_eq!((pixels[0], pixels[784], classes), (1.0 / 255.0, 0.0, [8.0, 7.0, 8.0]));
        let named = dataset.with_class_names(&["shoe", "bag"]);
        assert_eq!([0, 1, 2].map(|class| named.class_name(class)), ["shoe", "bag", "2"]);
    }
}
