//! What all sums over rows share: the length of a block, and the workspace.

use crate::host::{Cpu, f64_workspace_len};
use crate::loops::Columns;
use crate::ops::batch_norm::params::BatchNormParams;

/// Wide rows that are added up in f32. They are so few that their sum rounds no more than its terms do. The 64 columns
/// of a group stay in the second-level cache from the first sum over the block to the next.
pub(super) const BLOCK: usize = 256;

/// Scratch of every pass that sums over rows, in elements: two f64 a channel and task.
pub(crate) fn workspace_len(cpu: &Cpu, p: &BatchNormParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * 2 * p.channels)
}
