//! Whether values are finite: none is NaN, `+inf` or `-inf`; and undoing a training step if not.
//!
//! The answer is a flag in the backend's memory: one element, which is down if it is 0, and otherwise up. Passes that heed it, the
//! [optimizer's](crate::adamw) among them, make a step with a gradient that is not finite change nothing, and the host need not
//! wait for each step's gradients to see whether they are. A flag stays up until it is filled with 0.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

use crate::{Element, Span};

/// Operands of [`Backend::find_non_finite`](crate::Backend::find_non_finite).
#[derive(Clone, Copy, Debug)]
pub struct Find {
    /// Values of which none should be NaN or infinite; may be empty.
    pub values: Span,
    /// Flag: set to 1 if there is such a value, left as it is if not.
    pub flag: Span,
}

/// Operands of [`Backend::copy_if_raised`](crate::Backend::copy_if_raised).
#[derive(Clone, Copy, Debug)]
pub struct CopyIf {
    /// Flag.
    pub flag: Span,
    /// What is copied if the flag is up; may be empty.
    pub from: Span,
    /// As long as `from`; left as it is if the flag is down.
    pub to: Span,
}

/// Whether a flag is up; an absent one is not.
pub(crate) fn is_raised<E: Element>(flag: &[E]) -> bool {
    assert!(flag.len() <= 1, "a flag of {} elements", flag.len());
    // NaN is no 0, either
    flag.iter().any(|&flag| flag != E::from_f64(0.0))
}

/// Raises the flag if one of `values` is not finite.
pub(crate) fn find<E: Element>(values: &[E], flag: &mut [E]) {
    assert_eq!(flag.len(), 1, "elements of a flag");
    if !all(values) {
        flag[0] = E::from_f64(1.0);
    }
}

/// `to = from` if the flag is up
pub(crate) fn copy_if<E: Element>(flag: &[E], from: &[E], to: &mut [E]) {
    assert!(flag.len() == 1 && from.len() == to.len(), "{} flags, {} to {}", flag.len(), from.len(), to.len());
    if is_raised(flag) {
        to.copy_from_slice(from);
    }
}

/// Whether all of `values` are finite; true if there are none.
///
/// `0 x` is 0 for a finite `x` and NaN for any other. No branch ends the loop early, so that it runs over vectors: values are finite
/// in all but a few steps of a training.
fn all<E: Element>(values: &[E]) -> bool {
    let zero = E::from_f64(0.0);
    values.iter().fold(true, |all, &x| all & (x * zero == zero))
}
