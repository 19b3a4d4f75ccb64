//! The slopes by the equations of the [module documentation](super), element by element. With them, the passes are
//! those of [`prelu`](crate::ops::prelu).

use super::slopes::{MEAN, Slopes};

/// The slope of element `i`.
pub(super) fn slope(slopes: Slopes, i: usize) -> f64 {
    let Slopes::Random(words) = slopes else { return MEAN };
    (2f64.powi(21) + (3_495_254.0 * f64::from(words.word(i)) / 2f64.powi(32)).floor()) / 2f64.powi(24)
}
