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
    /// What it reads and writes of the pixels besides: operands as long as the output, or empty. They are fetched
    /// ahead.
    pub(in crate::ops) touches: &'a [Touched<'a>],
}

/// An operand of which [`Then`] reads or writes the pixels of a block.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Touched<'a> {
    Read(&'a [f32]),
    Written(SharedSlice<'a, f32>),
}

impl Touched<'_> {
    /// Where it begins, unless it is empty.
    pub(super) fn start(&self) -> Option<*const f32> {
        match self {
            Touched::Read(values) => (!values.is_empty()).then_some(values.as_ptr()),
            Touched::Written(values) => (!values.is_empty()).then_some(values.as_mut_ptr().cast_const()),
        }
    }
}
