//! PReLU: a rectifier whose slope below 0 is trained, one slope for all elements.
//!
//! ```text
//! y = x          where x > 0      dx = dy
//! y = slope x    elsewhere        dx = slope dy        dslope = sum dy x
//! ```
//!
//! The sum is over the elements of the second line, which 0 and NaN are among. `slope` and `dslope` have one element, the other
//! operands are of equal length. Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; all else is disjoint.
//! Source: He et al., "Delving Deep into Rectifiers", 2015; `torch.nn.PReLU()` with its default, one parameter.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};

/// Operands of [`Backend::prelu_forward`](crate::Backend::prelu_forward).
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input.
    pub x: Span,
    /// Slope below 0, one element.
    pub slope: Span,
    /// Output; may be `x`.
    pub y: Span,
}

impl Forward {
    /// Asserts the lengths.
    pub(crate) fn check(&self) {
        assert!(self.x.len == self.y.len && self.slope.len == 1, "lengths of {self:?}");
    }
}

/// Operands of [`Backend::prelu_backward`](crate::Backend::prelu_backward). Either gradient is empty if it is not wanted.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Input of the forward pass.
    pub x: Span,
    /// Slope below 0, one element.
    pub slope: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub dx_write: Write,
    /// Gradient of the slope, one element.
    pub dslope: Span,
    /// Whether `dslope` is set or added to.
    pub dslope_write: Write,
    /// Scratch.
    pub workspace: Span,
}

impl Backward {
    /// Asserts the lengths, and what may alias what.
    pub(crate) fn check(&self) {
        assert!(self.x.len == self.dy.len && self.slope.len == 1, "lengths of {self:?}");
        assert!(self.dx.is_empty() || self.dx.len == self.x.len, "lengths of {self:?}");
        assert!(self.dslope.len <= 1, "lengths of {self:?}");
        let is_set = self.dx_write == Write::Set;
        assert!(!self.dx.overlaps(&self.dy) || is_set, "an aliased gradient is set, not added to");
    }
}
