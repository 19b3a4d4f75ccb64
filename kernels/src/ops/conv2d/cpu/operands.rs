//! The operands of a pass on the CPU.

use crate::ops::conv2d::operands;

/// A forward pass or an input gradient.
pub(in crate::ops::conv2d) type Convolution<'a> = operands::Convolution<'a, &'a [f32], &'a mut [f32]>;

/// A weight gradient.
pub(in crate::ops::conv2d) type WeightGradient<'a> = operands::WeightGradient<'a, &'a [f32], &'a mut [f32]>;
