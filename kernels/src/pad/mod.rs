//! Zeros at the bottom and right of an image: `y[n,h,w,c] = x[n,h,w,c]` inside the `h0 x w0` input, else 0.
//!
//! Backward cuts them off: `dx[n,h,w,c] (+)= dy[n,h,w,c]` inside. Aliasing: all operands are disjoint.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};

/// Shape of a padding from `[n,h0,w0,c]` to `[n,h1,w1,c]`, with `h1 >= h0` and `w1 >= w0`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PadParams {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h0: usize,
    /// Width of the input.
    pub w0: usize,
    /// Height of the output.
    pub h1: usize,
    /// Width of the output.
    pub w1: usize,
    /// Channels.
    pub c: usize,
}

/// Operands of [`Backend::pad_forward`](crate::Backend::pad_forward).
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input `[n,h0,w0,c]`.
    pub x: Span,
    /// Output `[n,h1,w1,c]`.
    pub y: Span,
}

/// Operands of [`Backend::pad_backward`](crate::Backend::pad_backward).
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Gradient of the output `[n,h1,w1,c]`.
    pub dy: Span,
    /// Gradient of the input `[n,h0,w0,c]`.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl PadParams {
    /// Asserts the lengths of an input and an output, or of their gradients.
    pub(crate) fn check<T>(&self, x: &[T], y: &[T]) {
        assert!(self.h0 <= self.h1 && self.w0 <= self.w1, "{self:?}");
        assert_eq!(x.len(), self.n * self.h0 * self.w0 * self.c, "input of {self:?}");
        assert_eq!(y.len(), self.n * self.h1 * self.w1 * self.c, "output of {self:?}");
    }
}
