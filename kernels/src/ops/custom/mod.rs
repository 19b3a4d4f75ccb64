//! A pass of the caller's own, on host memory: operations that this crate does not have.
//!
//! The caller implements [`Function`] for f32 and f64 slices, and names the operands by spans as for every other pass.
//! It runs on backends whose memory is the host's ([`Backend::refusal`](crate::Backend::refusal)).
//!
//! Aliasing: written operands are disjoint from all others.

#[cfg(test)]
mod tests;

use crate::ops::prelude::*;
use std::fmt;
use std::sync::Arc;

/// Most operands of a pass that are read, and most that are written.
pub const MAX_OPERANDS: usize = 9;

/// What a custom pass computes. Operands come in the order of [`Custom`], [`MAX_OPERANDS`] of each kind; those that are
/// absent are empty.
pub trait Function: fmt::Debug + Send + Sync {
    /// Name of the pass in reports: `custom.forward`.
    fn name(&self) -> &'static str;

    /// In single precision.
    fn run_f32(&self, reads: [&[f32]; MAX_OPERANDS], writes: [&mut [f32]; MAX_OPERANDS]);

    /// In double precision.
    fn run_f64(&self, reads: [&[f64]; MAX_OPERANDS], writes: [&mut [f64]; MAX_OPERANDS]);
}

/// A function of the caller, and its operands. Those that are absent are [`Span::EMPTY`].
#[derive(Clone, Debug)]
pub struct Custom {
    /// What it computes.
    pub function: Arc<dyn Function>,
    /// What the pass reads.
    pub reads: [Span; MAX_OPERANDS],
    /// What it overwrites completely.
    pub writes: [Span; MAX_OPERANDS],
}

impl Pass for Custom {
    fn name(&self) -> &'static str {
        self.function.name()
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read(self.reads.each_mut());
        visit.set(self.writes.each_mut());
    }

    fn check(&self) {}

    fn longest_sum(&self) -> usize {
        self.reads.iter().map(|span| span.len).max().unwrap_or(1)
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    fn is_host_only(&self) -> bool {
        true
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (reads, writes) = memory.views(self.reads, self.writes);
        self.function.run_f64(reads, writes);
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let (reads, writes) = memory.views(self.reads, self.writes);
        self.function.run_f32(reads, writes);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Gpu, _: &mut CudaMemory, _: Context) {
        panic!("{} runs on the host alone: {self:?}", self.name());
    }
}
