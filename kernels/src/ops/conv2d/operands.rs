//! The operands of a pass as its implementations get them.
//!
//! `R` is how a backend holds what a pass reads, and `W` what it writes: `&[f32]` and `&mut [f32]` on the CPU,
//! addresses on a GPU.

use super::affine::Mapped;
use super::params::{Conv2dParams, Direction};
use crate::pass::Write;

/// A forward pass or an input gradient.
pub(super) struct Convolution<'a, R, W> {
    pub(super) direction: Direction,
    pub(super) params: &'a Conv2dParams,
    /// `x`, or `dy` of the adjoint.
    pub(super) input: Mapped<R>,
    /// Weight.
    pub(super) w: R,
    /// As long as the output has channels, or empty.
    pub(super) bias: R,
    /// `y`, or `dx` of the adjoint.
    pub(super) out: W,
    /// Whether `out` is set or added to.
    pub(super) write: Write,
}

/// A weight gradient.
pub(super) struct WeightGradient<'a, R, W> {
    pub(super) params: &'a Conv2dParams,
    pub(super) x: Mapped<R>,
    pub(super) dy: Mapped<R>,
    pub(super) dw: W,
    /// Whether `dw` is set or added to.
    pub(super) write: Write,
}
