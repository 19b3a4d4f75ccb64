//! Weighted addition, the skip connection: `y = a + weight b`. Backward: `da = dy`, `db = weight dy`.
//!
//! [`Scale`] is `y (+)= weight x`: it is both gradients, and a copy with weight 1.
//!
//! Aliasing: in [`Add`], `y` may be `a` or `b` itself; in [`Scale`], `y` may be `x` itself if it is set.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};

/// Operands of [`Backend::add`](crate::Backend::add), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Add {
    /// First summand.
    pub a: Span,
    /// Second summand, multiplied by the weight.
    pub b: Span,
    /// Output; may be `a` or `b`.
    pub y: Span,
}

/// Operands of [`Backend::scale`](crate::Backend::scale), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Input.
    pub x: Span,
    /// Output; may be `x` if it is set.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}
