//! What is done to an image, so that a network learns to undo it.

use super::half::Half;
use super::resample::{Filter, resize};
use crate::data::random::{Purpose, below, generator, normal_pair, uniform};
use rand_chacha::ChaCha8Rng;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// An image that is being damaged.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Damaged {
    /// Height in pixels.
    pub(crate) height: usize,
    /// Width in pixels.
    pub(crate) width: usize,
    /// 1 or 3.
    pub(crate) channels: usize,
    /// The pixels `[height][width][channels]`; the image's were 0 (black) to 1 (white), but damage may go beyond.
    pub(crate) pixels: Vec<f32>,
    /// For each pixel, whether it still is as it was in the image.
    pub(crate) known: Vec<bool>,
    /// Whether the network is told which pixels are missing.
    pub(super) tells_missing: bool,
}

impl Damaged {
    /// An image before anything is done to it.
    pub(crate) fn new([height, width]: [usize; 2], channels: usize, pixels: Vec<f32>) -> Damaged {
        assert_eq!(pixels.len(), height * width * channels, "pixels of an image of {height} x {width} x {channels}");
        let known = vec![true; height * width];
        Damaged { height, width, channels, pixels, known, tells_missing: false }
    }

    /// What the network gets: the pixels, each of which is followed by 1 if it is missing and 0 if it is not, if the
    /// network is told.
    pub(crate) fn network_input(&self) -> Cow<'_, [f32]> {
        if self.tells_missing {
            with_missing(&self.pixels, self.known.iter().map(|known| !known)).into()
        } else {
            Cow::Borrowed(&self.pixels)
        }
    }

    /// Puts other pixels in place of all that there are.
    pub(super) fn replace(&mut self, pixels: Vec<f32>) {
        self.channels = pixels.len() / self.known.len();
        self.pixels = pixels;
        self.known.fill(false);
    }

    /// Takes the pixels of some rows and columns away.
    pub(super) fn blank_area(&mut self, [rows, columns]: [Range<usize>; 2]) {
        rows.for_each(|row| columns.clone().for_each(|column| self.blank(row, column)));
    }

    /// Takes a pixel away.
    pub(super) fn blank(&mut self, row: usize, column: usize) {
        let pixel = row * self.width + column;
        self.pixels[pixel * self.channels..][..self.channels].fill(0.0);
        self.known[pixel] = false;
    }
}

/// Pixels `[..][C]` as a network gets them that is told which are missing: `[..][C + 1]`, with 1 for a missing pixel
/// and 0 for another.
pub(crate) fn with_missing(pixels: &[f32], missing: impl ExactSizeIterator<Item = bool>) -> Vec<f32> {
    let channels = pixels.len() / missing.len();
    let told = pixels.chunks_exact(channels).zip(missing);
    told.flat_map(|(pixel, missing)| pixel.iter().copied().chain([if missing { 1.0 } else { 0.0 }])).collect()
}

/// How a picture is enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Enlargement {
    /// Height and width are multiplied by this.
    pub(crate) factor: usize,
    /// How.
    pub(crate) filter: Filter,
}

impl Enlargement {
    /// The enlarged image `[height][width][channels]`.
    pub(crate) fn apply(self, pixels: &[f32], size: [usize; 2], channels: usize) -> Vec<f32> {
        resize(pixels, size, channels, size.map(|side| side * self.factor), self.filter)
    }
}

/// One kind of damage. Its text is its name and its parameters, as in `noise:0.1`.
pub(crate) trait Damage: fmt::Debug + fmt::Display + Send + Sync {
    /// Does it. What it does depends on `draws` alone.
    fn apply(&self, image: &mut Damaged, draws: &mut Draws);

    /// Whether it takes pixels away and leaves all others as they are.
    fn is_mask(&self) -> bool {
        false
    }

    /// Whether it fills in what is missing, and tells the network.
    fn is_fill(&self) -> bool {
        false
    }

    /// Channels of an image that had `channels`.
    fn out_channels(&self, channels: usize) -> usize {
        channels
    }

    /// How a picture that was made smaller is enlarged, for damage that makes images smaller.
    fn enlargement(&self) -> Option<Enlargement> {
        None
    }

    /// Whether it does nothing to grey images.
    fn needs_colors(&self) -> bool {
        false
    }
}

/// How users write a kind of damage.
pub(super) trait Kind: Damage + Sized + 'static {
    /// Its name and its parameters, which begin with colons. Those in brackets may be left out.
    const FORM: &'static str;

    /// What it does, with the ranges of its parameters and an example.
    const ABOUT: &'static str;

    /// The damage with these parameters; nothing if they are not as [`ABOUT`](Self::ABOUT) says.
    fn parse(parameters: &[&str]) -> Option<Self>;
}

/// The random numbers of a sample.
#[derive(Debug)]
pub(crate) struct Draws {
    half: Half,
    random: ChaCha8Rng,
    /// The second number of a pair that was drawn.
    normal: Option<f64>,
}

impl Draws {
    /// Those of the training sample at `position` of the run under `seed`.
    pub(crate) fn of_training(seed: u64, position: u64) -> Draws {
        Draws::new(Half::drawn(seed, position), generator(seed, Purpose::Damage, position))
    }

    /// Those of validation image `image`. They are the same in every run, whatever its seed, so that validation losses
    /// can be compared.
    pub(crate) fn of_validation(image: u64) -> Draws {
        Draws::new(Half::of_validation_image(image as usize), generator(0, Purpose::ValidationDamage, image))
    }

    fn new(half: Half, random: ChaCha8Rng) -> Draws {
        Draws { half, random, normal: None }
    }

    /// One of the halves of the image.
    pub(crate) fn half(&self) -> Half {
        self.half
    }

    /// A whole number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        below(&mut self.random, bound)
    }

    /// A number from `low` to `high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * uniform(&mut self.random)
    }

    /// A number of the normal distribution of mean 0 and deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        self.normal.take().unwrap_or_else(|| {
            let [first, second] = normal_pair(&mut self.random);
            self.normal = Some(second);
            first
        })
    }
}
