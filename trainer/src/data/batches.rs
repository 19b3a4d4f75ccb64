//! Batches of the task: the half image that the network gets, and the whole image that it is to restore.

use super::{Dataset, Half, SIDE, Sampler};

/// Reads images at another size: pixel `i` of a row or column of `size` is pixel `floor(i * 28 / size)` of the dataset's 28 (nearest
/// neighbour), and `k` of 255 becomes `k / 255` rounded to f32.
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

    /// Fills `input` and `target` image by image, with what `sample` gives for the n-th.
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
pub struct TrainingBatches<'a> {
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
    pub fn new(dataset: &'a Dataset, size: usize, seed: u64) -> TrainingBatches<'a> {
        TrainingBatches { dataset, seed, sampler: Sampler::new(dataset.len(), seed), reader: Reader::new(size) }
    }

    /// Writes the samples from `position` of the run on: `input[N][size][size][1]` with a half missing, `target` whole. The batch size
    /// `N` is that of the slices. Depends on nothing but the dataset, the seed and the position, and allocates nothing.
    ///
    /// # Panics
    /// If the slices differ in length, or do not hold whole images.
    pub fn fill<T: Copy + Default + From<f32>>(&mut self, position: u64, input: &mut [T], target: &mut [T]) {
        let TrainingBatches { dataset, seed, sampler, reader } = self;
        reader.fill(input, target, |n| {
            let position = position + n as u64;
            (dataset.image(sampler.image(position)), Half::drawn(*seed, position))
        });
    }
}

/// The validation images in their order, each with its fixed crop ([`Half::of_validation_image`]).
#[derive(Debug)]
pub struct ValidationBatches<'a> {
    dataset: &'a Dataset,
    reader: Reader,
}

impl<'a> ValidationBatches<'a> {
    /// The images of `dataset` at `size` x `size` pixels.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn new(dataset: &'a Dataset, size: usize) -> ValidationBatches<'a> {
        ValidationBatches { dataset, reader: Reader::new(size) }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.dataset.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the images from number `first` on, as [`TrainingBatches::fill`] does.
    ///
    /// # Panics
    /// If the slices differ in length, do not hold whole images, or reach beyond the last image.
    pub fn fill<T: Copy + Default + From<f32>>(&self, first: usize, input: &mut [T], target: &mut [T]) {
        self.reader.fill(input, target, |n| {
            let image = first + n;
            (self.dataset.image(image), Half::of_validation_image(image))
        });
    }
}
