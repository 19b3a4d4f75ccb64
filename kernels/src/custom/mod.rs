//! A pass of the caller's own, on host memory: operations that this crate does not have.
//!
//! The caller implements [`Pass`] for f32 and f64 slices, and names the operands by spans as for every other pass. Only
//! backends whose memory is the host's can run it: [`Backend::runs_custom`](crate::Backend::runs_custom).
//!
//! Aliasing: written operands are disjoint from all others.

#[cfg(test)]
mod tests;

use crate::{Element, HostMemory, Span};

/// Most operands of a pass that are read, and most that are written.
pub const MAX_OPERANDS: usize = 8;

/// What a custom pass computes. Operands come in the order of [`Operands`], [`MAX_OPERANDS`] of each kind; those that are
/// absent are empty.
pub trait Pass: Send + Sync {
    /// In single precision.
    fn run_f32(&self, reads: [&[f32]; MAX_OPERANDS], writes: [&mut [f32]; MAX_OPERANDS]);

    /// In double precision.
    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]);
}

/// Operands of [`Backend::custom`](crate::Backend::custom). Those that are absent are [`Span::EMPTY`].
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// What the pass reads.
    pub reads: [Span; MAX_OPERANDS],
    /// What it overwrites completely.
    pub writes: [Span; MAX_OPERANDS],
}

/// Runs a pass on host memory.
pub(crate) fn run<T: Element>(memory: &mut HostMemory<T>, pass: &dyn Pass, operands: Operands) {
    let (reads, writes) = memory.views(operands.reads, operands.writes);
    T::run_custom(pass, reads, writes);
}
