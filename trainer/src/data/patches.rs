//! Which part of an image a network sees.

use super::dataset::Dataset;
use super::error::DataError;
use super::image::Image;
use super::random::{Purpose, below, generator};
use serde::{Deserialize, Serialize};

/// How images of any size become squares of `size` x `size` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The largest square in the middle of the image, resized
    Resize,
    /// Squares of the image as it is: at random places in training, side by side in validation
    Crop,
}

/// The squares of `size` x `size` pixels that are taken from the images of a set.
///
/// An image has as many places as squares fit into it side by side, so that each pixel of the set is seen as often as
/// any other.
#[derive(Debug)]
pub(crate) struct Patches {
    size: usize,
    fit: Fit,
    /// For each image, the number of places of all images up to it.
    ends: Vec<u64>,
    value: [f32; 256],
}

/// A square of an image, which may be turned and mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    top: usize,
    left: usize,
    side: usize,
    symmetry: Symmetry,
}

/// One of the eight symmetries of a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Symmetry {
    upside_down: bool,
    mirrored: bool,
    transposed: bool,
}

impl Patches {
    /// The patches of `images`.
    ///
    /// # Panics
    /// If `size` is 0.
    pub(crate) fn new(images: &Dataset, size: usize, fit: Fit) -> Patches {
        assert!(size > 0, "images of size 0");
        let mut ends = Vec::with_capacity(images.len());
        let mut end = 0;
        for i in 0..images.len() {
            let [rows, columns] = cells(images.size(i), size, fit);
            end += (rows * columns) as u64;
            ends.push(end);
        }
        Patches { size, fit, ends, value: std::array::from_fn(|level| level as f32 / 255.0) }
    }

    /// Number of places.
    pub(crate) fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The image that has a place, and the place's number in it.
    ///
    /// # Panics
    /// If there is no such place.
    pub(crate) fn image(&self, place: u64) -> (usize, u64) {
        let image = self.ends.partition_point(|end| *end <= place);
        assert!(image < self.ends.len(), "place {place} of {}", self.len());
        (image, place - image.checked_sub(1).map_or(0, |before| self.ends[before]))
    }

    /// The square at a place of an image of `height` x `width` pixels.
    pub(crate) fn fixed(&self, [height, width]: [usize; 2], place: u64) -> Window {
        let side = self.side([height, width]);
        let [rows, columns] = cells([height, width], self.size, self.fit);
        let (row, column) = (place as usize / columns, place as usize % columns);
        let symmetry = Symmetry::default();
        // All squares together are in the middle of the image.
        let top = (height - rows * side) / 2 + row * side;
        Window { top, left: (width - columns * side) / 2 + column * side, side, symmetry }
    }

    /// The square of the training sample at `position` of a run under `seed`, in an image of `height` x `width` pixels;
    /// if `augment`, it is turned and mirrored at random.
    pub(crate) fn drawn(&self, [height, width]: [usize; 2], seed: u64, position: u64, augment: bool) -> Window {
        let mut window = self.fixed([height, width], 0);
        if self.fit == Fit::Resize && !augment {
            return window;
        }
        let mut random = generator(seed, Purpose::Patch, position);
        if self.fit == Fit::Crop {
            window.top = below(&mut random, (height - window.side) as u32 + 1) as usize;
            window.left = below(&mut random, (width - window.side) as u32 + 1) as usize;
        }
        if augment {
            let bits = below(&mut random, 8);
            window.symmetry =
                Symmetry { upside_down: bits & 1 != 0, mirrored: bits & 2 != 0, transposed: bits & 4 != 0 };
        }
        window
    }

    /// Side of the square of an image that becomes one of `size` x `size`.
    fn side(&self, [height, width]: [usize; 2]) -> usize {
        let whole = height.min(width);
        if self.fit == Fit::Crop { whole.min(self.size) } else { whole }
    }

    /// Writes a square of an image as `out[size][size][channels]`: pixel `i` of a row or column is the square's pixel
    /// `floor(i * side / size)` (nearest neighbour), and `k` of 255 becomes `k / 255` rounded to f32.
    pub(crate) fn read(&self, image: &Image<'_>, window: Window, out: &mut [f32]) {
        let (size, channels) = (self.size, image.channels);
        let Window { top, left, side, symmetry } = window;
        let flip = |i: usize, flipped: bool| if flipped { size - 1 - i } else { i };
        for (i, row) in out.chunks_exact_mut(size * channels).enumerate() {
            for (j, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let (i, j) = if symmetry.transposed { (j, i) } else { (i, j) };
                let (i, j) = (flip(i, symmetry.upside_down), flip(j, symmetry.mirrored));
                let from = (top + i * side / size) * image.width + left + j * side / size;
                for (value, level) in pixel.iter_mut().zip(&image.pixels[from * channels..]) {
                    *value = self.value[usize::from(*level)];
                }
            }
        }
    }

    /// Reads the square at a place of the set.
    ///
    /// # Errors
    /// As [`Dataset::image`].
    pub(crate) fn read_fixed(&self, images: &Dataset, place: u64, out: &mut [f32]) -> Result<(), DataError> {
        let (image, place) = self.image(place);
        self.read(&images.image(image)?, self.fixed(images.size(image), place), out);
        Ok(())
    }
}

/// Rows and columns of the squares that fit into an image side by side, at least one.
fn cells([height, width]: [usize; 2], size: usize, fit: Fit) -> [usize; 2] {
    match fit {
        Fit::Resize => [1, 1],
        Fit::Crop if height.min(width) < size => [1, 1],
        Fit::Crop => [height / size, width / size],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    /// A grey image whose pixels are numbered.
    fn numbered(height: usize, width: usize) -> Image<'static> {
        let pixels = (0..height * width).map(|i| i as u8).collect();
        Image { height, width, channels: 1, pixels: Cow::Owned(pixels) }
    }

    fn patches(images: &[Image<'_>], size: usize, fit: Fit) -> (Dataset, Patches) {
        let mut dataset = Dataset::new(images[0].channels);
        images.iter().for_each(|image| dataset.push(image));
        let patches = Patches::new(&dataset, size, fit);
        (dataset, patches)
    }

    fn levels(patches: &Patches, image: &Image<'_>, window: Window) -> Vec<u8> {
        let mut out = vec![f32::NAN; patches.size * patches.size * image.channels];
        patches.read(image, window, &mut out);
        out.iter().map(|value| (value * 255.0).round() as u8).collect()
    }

    #[test]
    fn fixed_squares_cover_all_but_the_margins_once() {
        for (height, width) in [(3, 3), (7, 10), (9, 6), (11, 3), (16, 16)] {
            let image = numbered(height, width);
            let (dataset, patches) = patches(&[numbered(3, 3), image.clone()], 3, Fit::Crop);
            let mut covered = vec![0; height * width];
            for place in 1..patches.len() {
                assert_eq!(patches.image(place), (1, place - 1));
                let mut out = [f32::NAN; 9];
                patches.read_fixed(&dataset, place, &mut out).unwrap();
                out.iter().for_each(|value| covered[(value * 255.0).round() as usize] += 1);
            }
            let margin = |side: usize| side % 3 / 2..side % 3 / 2 + side / 3 * 3;
            for (i, count) in covered.into_iter().enumerate() {
                let is_inside = margin(height).contains(&(i / width)) && margin(width).contains(&(i % width));
                assert_eq!(count, u32::from(is_inside), "pixel {i} of {height} x {width}");
            }
        }
    }

    #[test]
    fn images_have_as_many_places_as_squares_fit_in() {
        let images = [numbered(3, 3), numbered(9, 6), numbered(2, 100), numbered(5, 3)];
        let (_, crop) = patches(&images, 3, Fit::Crop);
        let places: Vec<(usize, u64)> = (0..crop.len()).map(|place| crop.image(place)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 0), (3, 0)]);
        let (_, resize) = patches(&images, 3, Fit::Resize);
        assert_eq!(
            (0..resize.len()).map(|place| resize.image(place)).collect::<Vec<_>>(),
            [(0, 0), (1, 0), (2, 0), (3, 0)]
        );
    }

    #[test]
    fn random_squares_are_anywhere_in_the_image_equally_often() {
        let image = numbered(10, 7);
        let (_, patches) = patches(std::slice::from_ref(&image), 4, Fit::Crop);
        let mut counts = BTreeMap::new();
        for position in 0..28_000 {
            let window = patches.drawn([10, 7], 3, position, false);
            assert_eq!((window.side, window.symmetry), (4, Symmetry::default()));
            *counts.entry((window.top, window.left)).or_insert(0u32) += 1;
        }
        let all = (0..7).flat_map(|top| (0..4).map(move |left| (top, left)));
        assert!(counts.keys().copied().eq(all), "{counts:?}");
        // The standard deviation of a count is 31.
        assert!(counts.values().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
        let window = patches.drawn([10, 7], 3, 5, false);
        let first = (window.top * 7 + window.left) as u8;
        assert_eq!(levels(&patches, &image, window)[..5], [first, first + 1, first + 2, first + 3, first + 7]);
        assert_ne!(patches.drawn([10, 7], 4, 5, false), window, "of another seed");
    }

    #[test]
    fn augmented_squares_have_all_eight_symmetries_equally_often() {
        let rotated = |pixels: &[u8]| (0..9).map(|i| pixels[(2 - i % 3) * 3 + i / 3]).collect::<Vec<u8>>();
        let mirrored = |pixels: &[u8]| (0..9).map(|i| pixels[i / 3 * 3 + 2 - i % 3]).collect::<Vec<u8>>();
        let image = numbered(3, 3);
        let mut symmetries = vec![image.pixels.to_vec()];
        for _ in 0..3 {
            symmetries.push(rotated(symmetries.last().unwrap()));
        }
        symmetries.extend(symmetries.clone().iter().map(|pixels| mirrored(pixels)));
        symmetries.sort();
        symmetries.dedup();
        assert_eq!(symmetries.len(), 8);
        for fit in [Fit::Resize, Fit::Crop] {
            let (_, patches) = patches(std::slice::from_ref(&image), 3, fit);
            let mut counts = BTreeMap::new();
            for position in 0..8000 {
                let window = patches.drawn([3, 3], 1, position, true);
                *counts.entry(levels(&patches, &image, window)).or_insert(0u32) += 1;
            }
            assert!(counts.keys().eq(&symmetries), "{counts:?}");
            // The standard deviation of a count is 30.
            assert!(counts.values().all(|count| count.abs_diff(1000) < 150), "{counts:?}");
            let plain = patches.drawn([3, 3], 1, 0, false);
            assert_eq!(levels(&patches, &image, plain), image.pixels[..]);
        }
    }

    #[test]
    fn small_images_are_enlarged() {
        let image = numbered(2, 3);
        for fit in [Fit::Crop, Fit::Resize] {
            let (_, patches) = patches(std::slice::from_ref(&image), 4, fit);
            assert_eq!(patches.len(), 1);
            let fixed = levels(&patches, &image, patches.fixed([2, 3], 0));
            assert_eq!(fixed, [0, 0, 1, 1, 0, 0, 1, 1, 3, 3, 4, 4, 3, 3, 4, 4]);
        }
        let (_, patches) = patches(std::slice::from_ref(&image), 4, Fit::Crop);
        let lefts: std::collections::BTreeSet<_> =
            (0..100).map(|position| patches.drawn([2, 3], 0, position, false).left).collect();
        assert!(lefts.into_iter().eq([0, 1]), "the square is as large as it can be, and anywhere");
    }

    #[test]
    fn large_images_are_reduced_or_cut() {
        let image = numbered(6, 8);
        let (_, resize) = patches(std::slice::from_ref(&image), 3, Fit::Resize);
        let square = levels(&resize, &image, resize.fixed([6, 8], 0));
        assert_eq!(square, [1, 3, 5, 17, 19, 21, 33, 35, 37], "every other pixel of the square in the middle");
        let (_, crop) = patches(std::slice::from_ref(&image), 3, Fit::Crop);
        assert_eq!(levels(&crop, &image, crop.fixed([6, 8], 0)), [1, 2, 3, 9, 10, 11, 17, 18, 19]);
    }

    #[test]
    fn colours_stay_together() {
        let pixels = (0..27).collect();
        let image = Image { height: 3, width: 3, channels: 3, pixels };
        let (_, patches) = patches(std::slice::from_ref(&image), 3, Fit::Crop);
        let symmetry = Symmetry { transposed: true, ..Symmetry::default() };
        let window = Window { symmetry, ..patches.fixed([3, 3], 0) };
        assert_eq!(levels(&patches, &image, window)[..9], [0, 1, 2, 9, 10, 11, 18, 19, 20]);
    }
}
