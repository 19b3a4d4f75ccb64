//! What the ranks of a data-parallel run compute together.
//!
//! `R` ranks have the same parameters, and each a [`Part`] of the images of every batch. They compute the same as one rank with
//! the whole batch, but for rounding, if what is summed or averaged over the batch is summed over the ranks, too:
//!
//! ```text
//! sum       x = sum_r weight_r x_r
//! moments   mean = sum_r s_r mean_r      var = sum_r s_r (var_r + (mean_r - mean)^2)      s_r = images of rank r / images of the batch
//! ```
//!
//! With `s_r` as the weight, `sum` makes the mean over the batch of means over its parts.
//!
//! - A [`Communicator`] moves bytes between ranks: [`Alone`] is one rank, [`Threads`] are ranks in one process. The crate `trainer` has
//!   one for the processes that `mpirun` started.
//! - A [`Collective`] computes on a backend's memory. [`Staged`] does so for every backend by copying to the host, and there over any
//!   communicator.
//!
//! Every rank calls the same operations in the same order, and waits in each for the others. All ranks get the same bits, or
//! their parameters would drift apart. In [`Staged`], sums are taken in the order of the ranks, so that they do not depend on how
//! messages travel, either.

mod staged;
#[cfg(test)]
mod tests;
mod threads;

pub use staged::Staged;
pub use threads::Threads;

use crate::{Backend, Span};
use std::ops::Range;

/// What a rank has of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// Images of the batch; at least one for each rank.
    pub batch: usize,
}

impl Part {
    /// Its images of the batch: as many as others have, or one more.
    pub fn images(&self) -> Range<usize> {
        self.images_of(self.rank)
    }

    /// The images of any rank.
    fn images_of(&self, rank: usize) -> Range<usize> {
        let start = |rank: usize| rank * self.batch / self.ranks;
        start(rank)..start(rank + 1)
    }

    /// Its images' share of the batch.
    pub fn share(&self) -> f64 {
        self.share_of(self.rank)
    }

    /// The share of any rank.
    pub(crate) fn share_of(&self, rank: usize) -> f64 {
        self.images_of(rank).len() as f64 / self.batch as f64
    }
}

/// Operands of [`Collective::moments`], each `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Mean of the rank's part; becomes that of the batch.
    pub mean: Span,
    /// Variance of the rank's part, with the number of its values as the divisor; becomes that of the batch.
    pub var: Span,
}

/// Sums over ranks, in the memory of a backend. Results are the same bits on every rank.
pub trait Collective<B: Backend>: Send + Sync {
    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// `x = sum_r weight_r x_r`, where each rank gives its own weight.
    fn sum(&self, backend: &B, memory: &mut B::Memory, weight: f64, x: Span);

    /// Moments of a batch from those of its parts.
    fn moments(&self, backend: &B, memory: &mut B::Memory, part: &Part, operands: Moments);
}

/// A device that the ranks cannot sum on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ranks cannot sum on their GPUs: {0}")]
pub struct CollectiveError(
    /// Why not.
    pub String,
);

/// Moves bytes between ranks. Every method is called by all of them, and returns when it has what it waits for.
///
/// A rank that is gone, or fails to communicate, ends the others: no method returns an error.
pub trait Communicator: Send + Sync {
    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// Number of this rank among those on the same machine, from 0.
    fn local_rank(&self) -> usize;

    /// Writes what every rank gives to `to`, in the order of the ranks. `from` has the same length everywhere.
    ///
    /// # Panics
    /// If `to` has not `ranks` times the length of `from`.
    fn all_gather(&self, from: &[u8], to: &mut [u8]);

    /// Sends each rank its piece of `from`, which has as many pieces of equal length as there are ranks, and writes the pieces that the
    /// ranks send to this one to `to`, in the order of the ranks.
    ///
    /// # Panics
    /// If the lengths differ, or are no multiple of the number of ranks.
    fn all_to_all(&self, from: &[u8], to: &mut [u8]);

    /// Overwrites `data` with that of rank 0. It has the same length everywhere.
    fn broadcast(&self, data: &mut [u8]);

    /// Ends every rank, of which the process exits with `code`.
    fn abort(&self, code: u8) -> !;
}

/// The only rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn all_gather(&self, from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
    }

    fn all_to_all(&self, from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
    }

    fn broadcast(&self, _: &mut [u8]) {}

    fn abort(&self, code: u8) -> ! {
        std::process::exit(code.into())
    }
}

impl<B: Backend> Collective<B> for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn sum(&self, backend: &B, memory: &mut B::Memory, weight: f64, x: Span) {
        backend.scale(memory, weight, crate::add::Scale { x, y: x, write: crate::Write::Set });
    }

    fn moments(&self, _: &B, _: &mut B::Memory, _: &Part, _: Moments) {}
}

/// Asserts the lengths of [`Communicator::all_gather`].
fn check_all_gather(ranks: usize, from: &[u8], to: &[u8]) {
    assert_eq!(to.len(), ranks * from.len(), "bytes of {ranks} ranks that give {} each", from.len());
}

/// Asserts the lengths of [`Communicator::all_to_all`].
fn check_all_to_all(ranks: usize, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "bytes sent and received");
    assert!(from.len().is_multiple_of(ranks), "{} bytes in {ranks} equal pieces", from.len());
}
