//! Batches of a task: damaged images as the input, and what they were as the target.

use super::damage::{Damaged, Draws};
use super::task::Task;
use crate::data::{Data, DataError, Dataset, Fit, Patches, Sampler};

/// Where samples come from, and what is done to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Samples<'a> {
    /// The images.
    pub(crate) images: &'a Dataset,
    /// Side of the squares that the network sees, in pixels.
    pub(crate) size: usize,
    /// How images become squares.
    pub(crate) fit: Fit,
    /// The damage.
    pub(crate) task: &'a Task,
}

impl<'a> Samples<'a> {
    /// Those to train with and to validate with.
    pub(crate) fn of(data: &'a Data, size: usize, task: &'a Task) -> [Samples<'a>; 2] {
        [&data.train, &data.validation].map(|images| Samples { images, size, fit: data.fit, task })
    }

    /// Elements of a damaged sample, and of one as it was.
    pub(crate) fn elements(&self) -> [usize; 2] {
        let channels = self.images.channels();
        [self.task.input_channels(channels), channels].map(|channels| self.size * self.size * channels)
    }

    /// Fills `input` and `target` sample by sample. `read` reads the n-th one, and gives its random numbers; `keep`
    /// gets which of its pixels are known.
    fn fill<T: Copy + From<f32>>(
        &self,
        input: &mut [T],
        target: &mut [T],
        mut read: impl FnMut(usize, &mut [f32]) -> Result<Draws, DataError>,
        mut keep: impl FnMut(usize, &[bool]),
    ) -> Result<(), DataError> {
        let [damaged, whole] = self.elements();
        assert_eq!(input.len() % damaged, 0, "a batch of whole samples of {damaged} elements");
        assert_eq!(input.len() / damaged * whole, target.len(), "elements of the target");
        let samples = input.chunks_exact_mut(damaged).zip(target.chunks_exact_mut(whole));
        for (n, (input, target)) in samples.enumerate() {
            let mut image = Damaged::new([self.size; 2], self.images.channels(), vec![0.0; whole]);
            let mut draws = read(n, &mut image.pixels)?;
            target.iter_mut().zip(&image.pixels).for_each(|(to, from)| *to = (*from).into());
            self.task.apply(&mut image, &mut draws);
            input.iter_mut().zip(&*image.network_input()).for_each(|(to, from)| *to = (*from).into());
            keep(n, &image.known);
        }
        Ok(())
    }
}

/// The stream of training samples of a run, shuffled and damaged under its seed.
#[derive(Debug)]
pub(crate) struct TrainingBatches<'a> {
    samples: Samples<'a>,
    seed: u64,
    augment: bool,
    patches: Patches,
    sampler: Sampler,
}

impl<'a> TrainingBatches<'a> {
    /// The samples of a run under `seed`; if `augment`, they are turned and mirrored at random.
    ///
    /// # Panics
    /// If there are no images, or the size is 0.
    pub(crate) fn new(samples: Samples<'a>, seed: u64, augment: bool) -> TrainingBatches<'a> {
        let patches = Patches::new(samples.images, samples.size, samples.fit);
        let sampler = Sampler::new(patches.len() as usize, seed);
        TrainingBatches { samples, seed, augment, patches, sampler }
    }

    /// Elements of a damaged sample, and of one as it was.
    pub(crate) fn elements(&self) -> [usize; 2] {
        self.samples.elements()
    }

    /// Writes the samples of the run from `position` on: `input[N][size][size][C]` damaged, `target` as they were. The
    /// lengths of the slices give the batch size `N`. The result depends on the images, the seed and the position
    /// alone.
    ///
    /// # Errors
    /// [`DataError`] if an image is in a file that cannot be read any more.
    ///
    /// # Panics
    /// If the slices do not hold as many whole samples as each other.
    pub(crate) fn fill<T: Copy + From<f32>>(
        &mut self,
        position: u64,
        input: &mut [T],
        target: &mut [T],
    ) -> Result<(), DataError> {
        let TrainingBatches { samples, seed, augment, patches, sampler } = self;
        let images = samples.images;
        let read = |n: usize, pixels: &mut [f32]| {
            let position = position + n as u64;
            let (image, _) = patches.image(sampler.image(position) as u64);
            let window = patches.drawn(images.size(image), *seed, position, *augment);
            patches.read(&images.image(image)?, window, pixels);
            Ok(Draws::of_training(*seed, position))
        };
        samples.fill(input, target, read, |_, _| ())
    }
}

/// The validation samples in their order, each with its fixed damage.
#[derive(Debug)]
pub(crate) struct ValidationBatches<'a> {
    samples: Samples<'a>,
    patches: Patches,
    count: u64,
    /// The places that the samples are spread over.
    places: u64,
}

impl<'a> ValidationBatches<'a> {
    /// All places of the images, or `most` of them at equal distances.
    ///
    /// # Panics
    /// If the size is 0.
    pub(crate) fn new(samples: Samples<'a>, most: u64) -> ValidationBatches<'a> {
        let patches = Patches::new(samples.images, samples.size, samples.fit);
        let places = patches.len();
        ValidationBatches { samples, patches, count: places.min(most), places }
    }

    /// Those to show: the first `most` images, or as many squares of larger ones at equal distances.
    ///
    /// # Panics
    /// If the size is 0.
    pub(crate) fn shown(samples: Samples<'a>, most: u64) -> ValidationBatches<'a> {
        let all = ValidationBatches::new(samples, most);
        let places = if samples.fit == Fit::Resize { all.count } else { all.places };
        ValidationBatches { places, ..all }
    }

    /// Elements of a damaged sample, and of one as it was.
    pub(crate) fn elements(&self) -> [usize; 2] {
        self.samples.elements()
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// The place of the `n`-th sample.
    pub(crate) fn place(&self, n: usize) -> u64 {
        (n as u128 * u128::from(self.places) / u128::from(self.count.max(1))) as u64
    }

    /// The image that the `n`-th sample is from.
    pub(crate) fn image(&self, n: usize) -> usize {
        self.patches.image(self.place(n)).0
    }

    /// Writes the samples from number `first` on, as [`TrainingBatches::fill`] does, and whether each of their pixels
    /// is known.
    ///
    /// # Errors
    /// As [`TrainingBatches::fill`].
    ///
    /// # Panics
    /// If the slices do not hold as many whole samples as each other, or reach beyond the last one.
    pub(crate) fn fill<T: Copy + From<f32>>(
        &self,
        first: usize,
        input: &mut [T],
        target: &mut [T],
        known: &mut [bool],
    ) -> Result<(), DataError> {
        let read = |n: usize, pixels: &mut [f32]| {
            let place = self.place(first + n);
            self.patches.read_fixed(self.samples.images, place, pixels)?;
            Ok(Draws::of_validation(place))
        };
        let pixels = self.samples.size * self.samples.size;
        self.samples.fill(input, target, read, |n, of_image| known[n * pixels..][..pixels].copy_from_slice(of_image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Image, SIDE};
    use crate::tasks::Half;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Images whose pixels all differ from their neighbours and from those of other images, and are not 0.
    fn dataset(images: usize) -> Dataset {
        let pixels = (0..images * SIDE * SIDE).map(|i| (i % 251) as u8 + 1).collect();
        Dataset::of_classes(pixels, (0..images).map(|i| (i % 10) as u8).collect())
    }

    fn training(dataset: &Dataset, size: usize, seed: u64, position: u64, images: usize) -> (Vec<f32>, Vec<f32>) {
        of_training(resized(dataset, size), seed, position, images)
    }

    fn of_training(samples: Samples<'_>, seed: u64, position: u64, images: usize) -> (Vec<f32>, Vec<f32>) {
        let [mut input, mut target] = samples.elements().map(|elements| vec![f32::NAN; images * elements]);
        TrainingBatches::new(samples, seed, false).fill(position, &mut input, &mut target).unwrap();
        (input, target)
    }

    fn resized(images: &Dataset, size: usize) -> Samples<'_> {
        static TASK: LazyLock<Task> = LazyLock::new(Task::default);
        Samples { images, size, fit: Fit::Resize, task: &TASK }
    }

    fn validation(batches: &ValidationBatches<'_>, first: usize, images: usize) -> [Vec<f32>; 2] {
        let pixels = images * batches.samples.size.pow(2);
        let mut buffers = [vec![0.0; pixels], vec![0.0; pixels]];
        let [input, target] = &mut buffers;
        batches.fill(first, input, target, &mut vec![true; pixels]).unwrap();
        buffers
    }

    #[test]
    fn images_are_resized_to_the_nearest_pixel() {
        let dataset = dataset(2);
        for size in [1, 7, 28, 32, 61, 64] {
            let [_, target] = validation(&ValidationBatches::new(resized(&dataset, size), 2), 1, 1);
            for (i, &value) in target.iter().enumerate() {
                let (row, column) = (i / size * 28 / size, i % size * 28 / size);
                let expected = f32::from(dataset.image(1).unwrap().pixels[row * 28 + column]) / 255.0;
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
            assert_eq!(target[0], f32::from(dataset.image(sampler.image(position)).unwrap().pixels[0]) / 255.0);
            let mut expected = Damaged::new([size; 2], 1, target.to_vec());
            expected.blank_area(Half::drawn(5, position).area([size; 2]));
            assert_eq!(input, expected.pixels);
            assert_eq!(input.iter().filter(|&&value| value == 0.0).count(), size * size / 2);
        }
    }

    #[test]
    fn validation_crops_do_not_depend_on_the_batches() {
        let dataset = dataset(10);
        let batches = ValidationBatches::new(resized(&dataset, 28), 10_000);
        assert_eq!(batches.len(), 10);
        let whole = validation(&batches, 0, 10);
        let part = validation(&batches, 6, 3);
        assert!([0, 1].iter().all(|&i| part[i] == whole[i][6 * 784..9 * 784]));
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
        TrainingBatches::new(resized(&dataset, 28), 2, false).fill(0, &mut wide.0, &mut wide.1).unwrap();
        let (input, target) = training(&dataset, 28, 2, 0, 4);
        assert!(
            wide.0.iter().zip(input).chain(wide.1.iter().zip(target)).all(|(&wide, narrow)| wide == f64::from(narrow))
        );
    }

    /// Images of several sizes, in colours.
    fn photographs(images: usize) -> Dataset {
        let mut dataset = Dataset::new(3);
        for i in 0..images {
            let (height, width) = (3 + i * 5 % 17, 4 + i * 7 % 13);
            let pixels = (0..height * width * 3).map(|j| (i * 37 + j * 11) as u8).collect();
            dataset.push(&Image { height, width, channels: 3, pixels });
        }
        dataset
    }

    proptest! {
        #[test]
        fn resuming_anywhere_gives_the_same_bits(
            images in 1usize..12, seed: u64, start in 0u64..40, cuts in prop::collection::vec(1usize..7, 1..8),
            task in prop::sample::select(vec!["half-crop", "box,noise:0..0.2", "pixels:0.1..0.5,blur:0..2", "jpeg:10..90"]),
        ) {
            let (dataset, task) = (dataset(images), task.parse::<Task>().unwrap());
            let samples = Samples { task: &task, ..resized(&dataset, 8) };
            let total: usize = cuts.iter().sum();
            let whole = of_training(samples, seed, start, total);
            let (mut input, mut target) = (Vec::new(), Vec::new());
            for cut in cuts {
                let position = start + (input.len() / 64) as u64;
                let part = of_training(samples, seed, position, cut);
                input.extend(part.0);
                target.extend(part.1);
            }
            prop_assert_eq!((input, target), whole);
        }

        #[test]
        fn so_it_does_with_patches_of_any_images(
            images in 1usize..12, size in 1usize..9, augment: bool, seed: u64, start in 0u64..200,
            cuts in prop::collection::vec(1usize..7, 1..8), crop: bool, chain in 0usize..2,
        ) {
            let images = photographs(images);
            let task: Task = ["half-crop,noise:0.1..0.3", "noise:0.2"][chain].parse().unwrap();
            let fit = if crop { Fit::Crop } else { Fit::Resize };
            let samples = Samples { images: &images, size, fit, task: &task };
            let read = |position: u64, count: usize| {
                let [mut input, mut target] = samples.elements().map(|elements| vec![f32::NAN; count * elements]);
                TrainingBatches::new(samples, seed, augment).fill(position, &mut input, &mut target).unwrap();
                (input, target)
            };
            let whole = read(start, cuts.iter().sum());
            prop_assert!(whole.0.iter().chain(&whole.1).all(|value| value.is_finite()));
            let (mut input, mut target) = (Vec::new(), Vec::new());
            for cut in cuts {
                let part = read(start + (target.len() / samples.elements()[1]) as u64, cut);
                input.extend(part.0);
                target.extend(part.1);
            }
            prop_assert_eq!((input, target), whole);
        }
    }
}
