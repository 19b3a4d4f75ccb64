//! The convolution of a fused layer: one of two kinds.

use super::conv_transpose2d::ConvTranspose2d;
use super::conv2d::Conv2d;
use crate::graph::{Arguments, Operation};
use crate::{Result, Shape};
use kernels::conv2d::ConvPasses;

/// The convolution of a [`Graph::norm_conv_act`](crate::Graph::norm_conv_act).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Convolution {
    /// As [`Graph::conv2d`](crate::Graph::conv2d).
    Conv2d(Conv2d),
    /// As [`Graph::conv_transpose2d`](crate::Graph::conv_transpose2d).
    Transposed(ConvTranspose2d),
}

impl Convolution {
    /// Its passes for shapes that have been checked.
    pub(super) fn passes(&self, x: Shape, w: Shape) -> ConvPasses {
        match self {
            Convolution::Conv2d(conv) => conv.passes(x, w),
            Convolution::Transposed(conv) => conv.passes(x, w),
        }
    }

    /// The shape rule.
    pub(super) fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        match self {
            Convolution::Conv2d(conv) => conv.shape(arguments),
            Convolution::Transposed(conv) => conv.shape(arguments),
        }
    }
}
