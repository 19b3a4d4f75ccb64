//! [`Function`]: an activation on vectors.

use crate::simd::Simd;

/// An activation and its derivative. Methods must be `#[inline(always)]`.
pub(crate) trait Function: Copy + Send + Sync {
    /// `f(x)`
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32;
    /// `f'(x)`, from `x` or `f(x)` as [`Activation::saved`](crate::ops::activation::Activation::saved) says.
    fn derivative<S: Simd>(self, s: S, saved: S::F32) -> S::F32;
}
