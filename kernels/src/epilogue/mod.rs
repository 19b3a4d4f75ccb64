//! What follows a convolution in a layer, in one pass over memory: activation, addition of a skip connection, and the moments
//! that the next layer's batch normalization needs. `z` is `[rows, channels]`, `rows = N P Q`.
//!
//! ```text
//! forward    y = f(z) + skip_weight skip                 mean, var = moments of the channels of y
//! backward   total = a g + b (y - mean) + c + dy_weight dy
//!            dz = total f'(z)           db = sum of the rows of dz
//! ```
//!
//! `total` is the gradient of `y`. Its first part is that of a batch normalization that reads `y`: `g` is the gradient of the
//! normalized values, and `a`, `b`, `c` are the coefficients that [`batch_norm`](crate::batch_norm)'s `gradients` makes, so
//! that the gradient through the normalization needs no pass of its own. The second part is the gradient that comes from elsewhere,
//! such as a skip connection. One of the two may be absent, and so may be the activation, the skip and every result but `y` or
//! `dz`.
//!
//! Aliasing: `y` may be `z` itself; `dz` may be `g` itself or, if there is no `g`, `dy` itself. All other operands are disjoint.

pub mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::activation::Activation;
use crate::{Span, Write};

/// Shape and constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpilogueParams {
    /// Pixels of the batch, `N P Q`.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// `f`; the identity if it is absent.
    pub activation: Option<Activation>,
    /// Weight of the skip connection.
    pub skip_weight: f64,
    /// Weight of the gradient that comes from elsewhere.
    pub dy_weight: f64,
}

/// Operands of [`Backend::epilogue_forward`](crate::Backend::epilogue_forward).
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Output of the convolution `[rows, channels]`.
    pub z: Span,
    /// What is added `[rows, channels]`, or empty.
    pub skip: Span,
    /// Output `[rows, channels]`; may be `z`.
    pub y: Span,
    /// Mean of the channels of `y`, written; empty if it is not wanted.
    pub mean: Span,
    /// Variance of the channels of `y`, with divisor `rows`, written; empty if and only if `mean` is.
    pub var: Span,
    /// Scratch.
    pub workspace: Span,
}

/// A gradient through a batch normalization, before its coefficients are applied. All operands are empty if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormGradient {
    /// `g`: the gradient of the normalized values `[rows, channels]`.
    pub dy: Span,
    /// What was normalized `[rows, channels]`.
    pub x: Span,
    /// Mean of the batch `[channels]`.
    pub mean: Span,
    /// `a`, `b` and `c` `[3, channels]`.
    pub coefficients: Span,
}

impl NormGradient {
    /// No gradient.
    pub const NONE: NormGradient =
        NormGradient { dy: Span::EMPTY, x: Span::EMPTY, mean: Span::EMPTY, coefficients: Span::EMPTY };
}

/// Operands of [`Backend::epilogue_backward`](crate::Backend::epilogue_backward).
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// `z`, or `f(z)`, as [`Activation::saved`] says; empty if there is no activation.
    pub saved: Span,
    /// Gradient that comes from a batch normalization of `y`.
    pub norm: NormGradient,
    /// Gradient that comes from elsewhere `[rows, channels]`, or empty; one of the two is there.
    pub dy: Span,
    /// Sum of both, written; empty if it is not wanted, as when there is no activation: then `dz` is the sum.
    pub total: Span,
    /// Gradient of `z`, written; may be `norm.dy` or, if that is empty, `dy`.
    pub dz: Span,
    /// Sum of the rows of `dz` `[channels]`, set or added to; empty if it is not wanted.
    pub db: Span,
    /// Whether `db` is set or added to.
    pub db_write: Write,
    /// Scratch.
    pub workspace: Span,
}

impl EpilogueParams {
    /// Elements of a `[rows, channels]` operand.
    pub fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Asserts lengths, but for operands that are absent.
fn check<const N: usize>(p: &EpilogueParams, len: usize, operands: [Span; N]) {
    assert!(operands.iter().all(|operand| operand.is_empty() || operand.len == len), "{operands:?} of {p:?}");
}

impl Forward {
    /// Asserts the lengths of the operands.
    pub(crate) fn check(&self, p: &EpilogueParams) {
        assert!(self.z.len == p.len() && self.y.len == p.len(), "{self:?} of {p:?}");
        check(p, p.len(), [self.skip]);
        check(p, p.channels, [self.mean, self.var]);
        assert_eq!(self.mean.is_empty(), self.var.is_empty(), "both moments are wanted, or none");
    }
}

impl Backward {
    /// Asserts the lengths of the operands, and what is absent together.
    pub(crate) fn check(&self, p: &EpilogueParams) {
        let Backward { saved, norm, dy, total, dz, db, .. } = *self;
        assert_eq!(dz.len, p.len(), "{self:?} of {p:?}");
        check(p, p.len(), [saved, norm.dy, norm.x, dy, total]);
        check(p, p.channels, [norm.mean, db]);
        check(p, 3 * p.channels, [norm.coefficients]);
        assert_eq!(saved.is_empty(), p.activation.is_none(), "an activation, and what it saved");
        let absent = [norm.dy, norm.x, norm.mean, norm.coefficients].map(|span| span.is_empty());
        assert!(absent.iter().all(|is_absent| *is_absent == absent[0]), "all of a batch normalization, or nothing");
        assert!(!(norm.dy.is_empty() && dy.is_empty()), "a gradient comes from somewhere");
        assert!(total.is_empty() || p.activation.is_some(), "without an activation the total is `dz`");
        assert!(norm.dy.is_empty() || !dz.overlaps(&dy), "`dz` is written before `dy` is read");
    }
}
