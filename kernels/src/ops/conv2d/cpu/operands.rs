//! The operands of a pass on the CPU.

use crate::ops::conv2d::operands;
use crate::parallel::SharedSlice;

/// A forward pass or an input gradient.
pub(in crate::ops::conv2d) type Convolution<'a> = operands::Convolution<'a, &'a [f32], &'a mut [f32]>;

/// A weight gradient.
pub(in crate::ops::conv2d) type WeightGradient<'a> = operands::WeightGradient<'a, &'a [f32], &'a mut [f32]>;

/// What is done with the output while it is in the cache.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Then<'a> {
    /// Called for all rows of pixels of a block, some at a time and in one thread, with the block's number, the number
    /// of their first value in the output, and their values.
    pub(in crate::ops) run: &'a (dyn Fn(usize, usize, &mut [f32]) + Sync),
    /// What it reads of the pixels besides, as long as the output, or empty. It is fetched ahead.
    pub(in crate::ops) reads: &'a [f32],
    /// What it writes of the pixels besides.
    pub(in crate::ops) writes: Option<SharedSlice<'a, f32>>,
}
