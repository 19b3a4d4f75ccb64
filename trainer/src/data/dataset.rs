//! Images with their classes, in memory.

use super::known::SIDE;

/// Images of 28 x 28 pixels with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dataset {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Dataset {
    /// A dataset of `pixels[N][28][28]` (0: black, 255: white) and a class for each image.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub(crate) fn new(pixels: Vec<u8>, labels: Vec<u8>) -> Dataset {
        assert_eq!(pixels.len(), labels.len() * SIDE * SIDE, "pixels for {} images of 28 x 28", labels.len());
        Dataset { pixels, labels }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of all images.
    pub(crate) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The classes of all images.
    pub(crate) fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of image `i`, row by row.
    ///
    /// # Panics
    /// If there is no such image.
    pub(crate) fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * SIDE * SIDE..][..SIDE * SIDE]
    }

    /// The class of image `i`, 0 to 9.
    ///
    /// # Panics
    /// If there is no such image.
    pub(crate) fn label(&self, i: usize) -> u8 {
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
    }
}
