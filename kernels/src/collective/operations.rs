//! [`Collective`]: the operations over ranks.

use super::part::Part;
use crate::backend::Backend;
use crate::memory::Span;

/// Operands of [`Collective::batch_stats`], each `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct BatchStats {
    /// Mean over the rank's images; becomes that over the batch.
    pub mean: Span,
    /// Variance over the rank's images, with the number of its values as the divisor; becomes that over the batch.
    pub var: Span,
}

/// Sums over ranks, in the memory of a backend. Results are the same bits on every rank.
pub trait Collective<B: Backend>: Send + Sync {
    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// Whether ranks are threads of one process: see [`Communicator::shares_process`].
    ///
    /// [`Communicator::shares_process`]: super::Communicator::shares_process
    fn shares_process(&self) -> bool {
        false
    }

    /// `x = sum_r weight_r x_r`, where each rank gives its own weight.
    fn sum(&self, backend: &B, memory: &mut B::Memory, weight: f64, x: Span);

    /// Mean and variance over a batch, from those over each rank's part.
    fn batch_stats(&self, backend: &B, memory: &mut B::Memory, part: &Part, operands: BatchStats);
}
