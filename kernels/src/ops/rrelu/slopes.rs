//! The slopes: the equations of the [module documentation](super), a block of elements at a time.

use crate::random::{Draws, Key};

/// The slope where nothing is drawn: the mean of 1/8 and 1/3.
pub const MEAN: f64 = 11.0 / 48.0;

/// Half a block. Two elements that are this far apart share a call of the generator.
pub(super) const HALF: usize = 64;

/// Elements of a block.
pub(super) const BLOCK: usize = 2 * HALF;

/// What elements that are not above 0 are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slopes {
    /// Numbers that a key gives: training.
    Random {
        /// The key.
        key: Key,
        /// Number of the first element.
        first: u64,
    },
    /// [`MEAN`]: evaluation.
    Mean,
}

impl Slopes {
    /// The slopes of a pass, in a step that has this key.
    pub(super) fn new(draws: Option<Draws>, key: Key) -> Slopes {
        draws.map_or(Slopes::Mean, |draws| Slopes::Random { key: draws.key(key), first: draws.first })
    }

    /// Number of the first element.
    pub(super) fn first(self) -> u64 {
        match self {
            Slopes::Random { first, .. } => first,
            Slopes::Mean => 0,
        }
    }

    /// The slopes of block `block`, whose first element has number `block * BLOCK`. The compiler turns the loop into
    /// one over vectors.
    #[inline(always)]
    pub(super) fn of_block(self, block: u64, slopes: &mut [f32; BLOCK]) {
        let key = match self {
            Slopes::Random { key, .. } => key,
            Slopes::Mean => return slopes.fill(MEAN as f32),
        };
        let first = block * HALF as u64;
        // `first` is a multiple of HALF, so adding less than that carries nothing into the upper half.
        let (lo, hi) = (first as u32, (first >> 32) as u32);
        let (low, high) = slopes.split_at_mut(HALF);
        for (i, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let [a, b] = key.words(lo + i as u32, hi);
            (*low, *high) = (slope_of(a), slope_of(b));
        }
    }
}

/// `(2^21 + floor(3495254 word / 2^32)) / 2^24`
#[inline(always)]
fn slope_of(word: u32) -> f32 {
    let numerator = (1 << 21) + ((u64::from(word) * 3_495_254) >> 32) as i32;
    numerator as f32 * (1.0 / 16_777_216.0)
}
