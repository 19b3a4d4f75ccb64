//! The passes on the CPU, with SIMD.
//!
//! Sums over rows are in f32 within a block of 256 rows, and in f64 from block to block, in the order of the rows. Each
//! task leaves its sums in the workspace. They are then added up in the order of the tasks, so threads do not change a
//! bit.

mod backward;
mod batch_stats;
mod forward;
mod sums;

pub(super) use backward::backward_sums;
pub(crate) use backward::{InputGradient, add_up, backward_input, coefficients, finish_sums, gradient_sums, put_sums};
pub(crate) use batch_stats::{ForwardStats, forward_stats, merge, merge_parts, moments};
pub(super) use batch_stats::{batch_stats, update_running};
pub(crate) use forward::{Normalize, of_batch, of_running};
pub(super) use forward::{apply, fold, inference};
pub(super) use sums::workspace_len;
