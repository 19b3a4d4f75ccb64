//! The slopes by the equations of the [module documentation](super), element by element. With them, the passes are
//! those of [`prelu`](crate::ops::prelu).

use super::slopes::{BLOCK, HALF, MEAN, Slopes};

/// The slope of element `i`.
pub(super) fn slope(slopes: Slopes, i: usize) -> f64 {
    let Slopes::Random { key, first } = slopes else { return MEAN };
    let i = first + i as u64;
    let (block, place) = (i / BLOCK as u64, i as usize % BLOCK);
    let counter = block * HALF as u64 + (place % HALF) as u64;
    let word = key.words(counter as u32, (counter >> 32) as u32)[place / HALF];
    (2f64.powi(21) + (3_495_254.0 * f64::from(word) / 2f64.powi(32)).floor()) / 2f64.powi(24)
}
