//! Whether values are finite: none is NaN, `+inf` or `-inf`.
//!
//! The answer is one bit, so that it can be asked for after every training step: a device is not to send all gradients to the host for it.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

use crate::Element;

/// Whether all of `values` are finite; true if there are none.
///
/// `0 x` is 0 for a finite `x` and NaN for any other. No branch ends the loop early, so that it runs over vectors: values are finite
/// in all but a few steps of a training.
pub fn all<E: Element>(values: &[E]) -> bool {
    let zero = E::from_f64(0.0);
    values.iter().fold(true, |all, &x| all & (x * zero == zero))
}
