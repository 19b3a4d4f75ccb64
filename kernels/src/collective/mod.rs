//! What the ranks of a data-parallel run compute together.
//!
//! `R` ranks have the same parameters. Each has a [`Part`] of the images of every batch. Up to rounding, they compute
//! the same as one rank with the whole batch, if whatever is summed or averaged over the batch is also summed over the
//! ranks:
//!
//! ```text
//! sum           x = sum_r weight_r x_r
//! batch_stats   mean = sum_r s_r mean_r      var = sum_r s_r (var_r + (mean_r - mean)^2)
//!
//! s_r = images of rank r / images of the batch
//! ```
//!
//! With `s_r` as the weight, `sum` computes the mean over the batch from each rank's mean over its images.
//!
//! - A [`Communicator`] moves bytes between ranks: [`Alone`] is one rank, [`Threads`] are ranks in one process. The
//!   crate `trainer` has one for the processes that `mpirun` started.
//! - A [`Collective`] computes on a backend's memory. [`Staged`] does so for every backend and over any communicator,
//!   by copying to the host. A backend chooses its own ([`Distributed`]).
//! - A [`RankStep`] is one such operation as data, as a [`Call`](crate::Call) is for a pass.
//!
//! Every rank calls the same operations in the same order, and waits in each for the others. All ranks get the same
//! bits: otherwise their parameters would drift apart. [`Staged`] adds in the order of the ranks, so its sums do not
//! depend on how messages travel.

mod alone;
mod communicator;
mod distributed;
mod operations;
mod part;
mod staged;
mod step;
#[cfg(test)]
mod tests;
mod threads;

pub use alone::Alone;
pub use communicator::Communicator;
pub use distributed::{CollectiveError, Distributed};
pub use operations::{BatchStats, Collective};
pub use part::Part;
pub use staged::Staged;
pub use step::RankStep;
pub use threads::Threads;
