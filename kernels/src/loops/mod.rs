//! The loops that passes share: tasks, vectors and tails.
//!
//! A pass gives a function of one vector an operand, and a loop runs it over the operands: [`map`] over flat ones,
//! [`map_channels`] over rows whose channels have coefficients, [`column_sums`] adds up rows, [`map_rows`] does all of
//! it at once. A lane's result depends on that lane's inputs alone, so it is the same wherever in a vector, a tail or a
//! task it is computed.

mod channels;
mod flat;
mod rows;
mod sums;

pub(crate) use channels::{Channelwise, TILE, map_channels};
pub(crate) use flat::{Lanewise, map};
pub(crate) use rows::{BlockSums, Operands, RowFunction, map_rows};
pub(crate) use sums::{GROUP, Terms, column_sums};

use crate::Cpu;
use std::ops::Range;

/// Elements of a task: 64 KiB an operand, so that all operands of a task fit the second-level cache, and a task takes
/// longer than it costs to start. A pass of one task runs in the calling thread.
pub(crate) const TASK_LEN: usize = 16 * 1024;

/// How `rows` of `channels` values, one after another, are cut into vectors and tasks.
///
/// If it is not wide, several rows count as one **wide row**, whose width is a multiple of the lanes: then a column of
/// vectors always holds the same channels, and no vector is partial but in the last wide row, which may be cut short.
/// Otherwise a wide row is a row, and the last vector of each may be partial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Rows in all.
    pub(crate) rows: usize,
    /// Values in a row.
    pub(crate) channels: usize,
    /// Rows in a wide row.
    pub(crate) fold: usize,
}

impl Columns {
    /// # Panics
    /// If there are no rows or no channels.
    pub(crate) fn new(cpu: &Cpu, rows: usize, channels: usize) -> Columns {
        assert!(rows > 0 && channels > 0, "{rows} rows of {channels} channels");
        let lanes = cpu.isa.lanes();
        // lanes / gcd(lanes, channels), as lanes are a power of 2
        let fold = (lanes >> channels.trailing_zeros().min(lanes.trailing_zeros())).max(1);
        Columns { rows, channels, fold: if fold * channels <= TILE { fold } else { 1 } }
    }

    /// Values in a wide row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// Values in all.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Values of every task but the last: whole wide rows.
    fn task_len(&self) -> usize {
        (TASK_LEN / self.width()).max(1) * self.width()
    }

    /// Number of tasks.
    pub(crate) fn tasks(&self) -> usize {
        self.len().div_ceil(self.task_len())
    }

    /// The values of a task.
    pub(crate) fn task(&self, task: usize) -> Range<usize> {
        let start = task * self.task_len();
        start..self.len().min(start + self.task_len())
    }

    /// The rows of a task.
    pub(crate) fn task_rows(&self, task: usize) -> usize {
        self.task(task).len() / self.channels
    }
}
