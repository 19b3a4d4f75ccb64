//! Batches of the task: images with a missing half as the input, and the whole images as the target.

use super::half_crop::Half;
use crate::data::{Dataset, SIDE, Sampler};

/// Reads images at another size: pixel `i` of a row or column of `size` is pixel `floor(i * 28 / size)` of the
/// dataset's 28 (nearest neighbour), and `k` of 255 becomes `k / 255` rounded to f32.
#[derive(Debug)]
struct Reader {
    size: usize,
    source: Vec<usize>,
    value: [f32; 256],
}

impl Reader {
    fn new(size: usize) -> Reader {
        assert!(size > 0, "images of size 0");
        Reader {
            size,
            source: (0..size).map(|i| i * SIDE / size).collect(),
            value: std::array::from_fn(|level| level as f32 / 255.0),
        }
    }

    fn read<T: Copy + From<f32>>(&self, image: &[u8], out: &mut [T]) {
        for (&row, out) in self.source.iter().zip(out.chunks_exact_mut(self.size)) {
            let row = &image[row * SIDE..][..SIDE];
            for (&column, out) in self.source.iter().zip(out) {
                *out = self.value[row[column] as usize].into();
            }
        }
    }

    /// Fills `input` and `target` image by image. `sample` returns the n-th image and its missing half.
    fn fill<'a, T: Copy + Default + From<f32>>(
        &self,
        input: &mut [T],
        target: &mut [T],
        mut sample: impl FnMut(usize) -> (&'a [u8], Half),
    ) {
        let pixels = self.size * self.size;
        assert_eq!(input.len(), target.len(), "elements of the input and of the target");
        assert_eq!(input.len() % pixels, 0, "a batch of whole images of {pixels} pixels");
        let images = input.chunks_exact_mut(pixels).zip(target.chunks_exact_mut(pixels));
        for (n, (input, target)) in images.enumerate() {
            let (image, missing) = sample(n);
            self.read(image, target);
            input.copy_from_slice(target);
            missing.blank(input, self.size);
        }
    }
}

/// The stream of training samples of a run, shuffled and cropped under its seed.
#[derive(Debug)]
pub(crate) struct TrainingBatches<'a> {
    dataset: &'a Dataset,
    seed: u64,
    sampler: Sampler,
    reader: Reader,
}

impl<'a> TrainingBatches<'a> {
    /// The samples of `dataset` at `size` x `size` pixels under `seed`.
    ///
    /// # Panics
    /// If the dataset is empty, or `size` is 0.
    pub(crate) fn new(dataset: &'a Dataset, size: usize, seed: u64) -> TrainingBatches<'a> {
        TrainingBatches { dataset, seed, sampler: Sampler::new(dataset.len(), seed), reader: Reader::new(size) }
    }

    /// Writes the samples of the run from `position` on: `input[N][size][size][1]` with a half missing, `target` whole.
    /// The lengths of the slices give the batch size `N`. The result depends on the dataset, the seed and the position
    /// alone. Nothing is allocated.
    ///
    /// # Panics
    /// If the slices differ in length, or do not hold whole images.
    pub(crate) fn fill<T: Copy + Default + From<f32>>(&mut self, position: u64, input: &mut [T], target: &mut [T]) {
        let TrainingBatches { dataset, seed, sampler, reader } = self;
        reader.fill(input, target, |n| {
            let position = position + n as u64;
            (dataset.image(sampler.image(position)), Half::drawn(*seed, position))
        });
    }
}

/// The validation images in their order, each with its fixed crop ([`Half::of_validation_image`]).
#[derive(Debug)]
pub(crate) struct ValidationBatches<'a> {
    dataset: &'a Dataset,
    reader: Reader,
}

impl<'a> ValidationBatches<'a> {
    /// The images of `dataset` at `size` x `size` pixels.
    ///
    /// # Panics
    /// If `size` is 0.
    pub(crate) fn new(dataset: &'a Dataset, size: usize) -> ValidationBatches<'a> {
        ValidationBatches { dataset, reader: Reader::new(size) }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.dataset.len()
    }

    /// Writes the images from number `first` on, as [`TrainingBatches::fill`] does.
    ///
    /// # Panics
    /// If the slices differ in length, do not hold whole images, or reach beyond the last image.
    pub(crate) fn fill<T: Copy + Default + From<f32>>(&self, first: usize, input: &mut [T], target: &mut [T]) {
        self.reader.fill(input, target, |n| {
            let image = first + n;
            (self.dataset.image(image), Half::of_validation_image(image))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Images whose pixels all differ from their neighbours and from those of other images, and are not 0.
    fn dataset(images: usize) -> Dataset {
        let pixels = (0..images * SIDE * SIDE).map(|i| (i % 251) as u8 + 1).collect();
        Dataset::new(pixels, (0..images).map(|i| (i % 10) as u8).collect())
    }

    fn training(dataset: &Dataset, size: usize, seed: u64, position: u64, images: usize) -> (Vec<f32>, Vec<f32>) {
        let mut buffers = (vec![f32::NAN; images * size * size], vec![f32::NAN; images * size * size]);
        TrainingBatches::new(dataset, size, seed).fill(position, &mut buffers.0, &mut buffers.1);
        buffers
    }

    #[test]
    fn images_are_resized_to_the_nearest_pixel() {
        let dataset = dataset(2);
        for size in [1, 7, 28, 32, 61, 64] {
            let mut input = vec![0f32; size * size];
            let mut target = input.clone();
            ValidationBatches::new(&dataset, size).fill(1, &mut input, &mut target);
            for (i, &value) in target.iter().enumerate() {
                let (row, column) = (i / size * 28 / size, i % size * 28 / size);
                let expected = f32::from(dataset.image(1)[row * 28 + column]) / 255.0;
                assert_eq!(value, expected, "pixel {i} at size {size}");
            }
        }
    }

    #[test]
    fn the_input_lacks_the_drawn_half_of_the_target() {
        let dataset = dataset(9);
        let size = 32;
        let (input, target) = training(&dataset, size, 5, 100, 20);
        let mut sampler = Sampler::new(9, 5);
        for (n, (input, target)) in input.chunks(size * size).zip(target.chunks(size * size)).enumerate() {
            let position = 100 + n as u64;
            assert_eq!(target[0], f32::from(dataset.image(sampler.image(position))[0]) / 255.0);
            let mut expected = target.to_vec();
            Half::drawn(5, position).blank(&mut expected, size);
            assert_eq!(input, expected);
            assert_eq!(input.iter().filter(|&&value| value == 0.0).count(), size * size / 2);
        }
    }

    #[test]
    fn validation_crops_do_not_depend_on_the_batches() {
        let dataset = dataset(10);
        let batches = ValidationBatches::new(&dataset, 28);
        assert_eq!(batches.len(), 10);
        let mut whole = (vec![0f32; 10 * 784], vec![0f32; 10 * 784]);
        batches.fill(0, &mut whole.0, &mut whole.1);
        let mut part = (vec![0f32; 3 * 784], vec![0f32; 3 * 784]);
        batches.fill(6, &mut part.0, &mut part.1);
        assert_eq!(part.0, whole.0[6 * 784..9 * 784]);
        assert_eq!(part.1, whole.1[6 * 784..9 * 784]);
    }

    #[test]
    fn other_seeds_give_other_samples() {
        let dataset = dataset(50);
        assert_ne!(training(&dataset, 28, 0, 0, 8), training(&dataset, 28, 1, 0, 8));
    }

    #[test]
    fn double_precision_gets_the_same_values() {
        let dataset = dataset(4);
        let mut wide = (vec![0f64; 4 * 784], vec![0f64; 4 * 784]);
        TrainingBatches::new(&dataset, 28, 2).fill(0, &mut wide.0, &mut wide.1);
        let (input, target) = training(&dataset, 28, 2, 0, 4);
        assert!(
            wide.0.iter().zip(input).chain(wide.1.iter().zip(target)).all(|(&wide, narrow)| wide == f64::from(narrow))
        );
    }

    proptest! {
        #[test]
        fn resuming_anywhere_gives_the_same_bits(
            images in 1usize..12, seed: u64, start in 0u64..40, cuts in prop::collection::vec(1usize..7, 1..8),
        ) {
            let dataset = dataset(images);
            let total: usize = cuts.iter().sum();
            let whole = training(&dataset, 8, seed, start, total);
            let (mut input, mut target) = (Vec::new(), Vec::new());
            for cut in cuts {
                let position = start + (input.len() / 64) as u64;
                let part = training(&dataset, 8, seed, position, cut);
                input.extend(part.0);
                target.extend(part.1);
            }
            prop_assert_eq!((input, target), whole);
        }
    }
}
