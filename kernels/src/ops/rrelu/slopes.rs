//! The slopes: the equations of the [module documentation](super).

use crate::random::{Draws, ElementWords, Key};

/// The slope where nothing is drawn: the mean of 1/8 and 1/3.
pub const MEAN: f64 = 11.0 / 48.0;

/// What elements that are not above 0 are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slopes {
    /// Numbers that these words give: training.
    Random(ElementWords),
    /// [`MEAN`]: evaluation.
    Mean,
}

impl Slopes {
    /// The slopes of a pass, in a step that has this key.
    pub(super) fn new(draws: Option<Draws>, key: Key) -> Slopes {
        draws.map_or(Slopes::Mean, |draws| Slopes::Random(draws.words(key)))
    }
}

/// `(2^21 + floor(3495254 word / 2^32)) / 2^24`
#[inline(always)]
pub(super) fn slope_of(word: u32) -> f32 {
    let numerator = (1 << 21) + ((u64::from(word) * 3_495_254) >> 32) as i32;
    numerator as f32 * (1.0 / 16_777_216.0)
}
