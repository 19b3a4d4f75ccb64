//! The loops that passes share: tasks, vectors and tails.
//!
//! A pass gives a function of one vector per operand, and a loop runs it over the operands: [`map`] over flat ones,
//! [`map_channels`] over rows with coefficients per channel, [`map_drawn`] with a random number for each element.
//! [`total`] adds up all elements, [`column_sums`] rows, and [`map_rows`] does all of this at once. [`for_rows`] gives
//! a pass the rows of a task, and [`update`] takes a step of an optimizer. A lane's result depends only on that lane's
//! inputs, so it is the same anywhere in a vector, a tail or a task.

mod channels;
mod drawn;
mod flat;
mod rows;
mod sums;
mod tasks;
mod total;
mod update;

pub(crate) use channels::{Channelwise, TILE, map_channels, map_images};
pub(crate) use drawn::{Drawn, map_drawn};
pub(crate) use flat::{Lanewise, map};
pub(crate) use rows::{BlockSums, Operands, RowFunction, add_columns, map_rows};
pub(crate) use sums::{GROUP, Terms, column_sums};
pub(crate) use tasks::{for_rows, for_rows_with_scratch};
pub(crate) use total::{sum_of_tasks, total, total_workspace_len};
pub(crate) use update::{Update, finite_or, stays_finite, update};

use crate::Cpu;
use crate::parallel::Pool;
use std::ops::Range;

/// Elements of a task: 64 KiB per operand, so that all operands of a task fit in the second-level cache, and running a
/// task takes longer than starting it. A pass of one task runs in the calling thread.
pub(crate) const TASK_LEN: usize = 16 * 1024;

/// How contiguous `rows` of `channels` values are cut into vectors and tasks.
///
/// Several narrow rows count as one **wide row**, whose width is a multiple of the lanes. Then a column of vectors
/// always holds the same channels, and only the last wide row, which may be cut short, has partial vectors. If such a
/// wide row would have more than [`TILE`] columns, each row counts as one, and its last vector may be partial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Number of rows.
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
        // This is lanes / gcd(lanes, channels), as lanes are a power of 2.
        let fold = (lanes >> channels.trailing_zeros().min(lanes.trailing_zeros())).max(1);
        Columns { rows, channels, fold: if fold * channels <= TILE { fold } else { 1 } }
    }

    /// Values in a wide row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Values of every task except the last: whole wide rows.
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

/// Images, each of rows that are cut as its [`Columns`] say. A task has several small images, or a part of a large one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images {
    /// Number of images.
    pub(crate) count: usize,
    /// The rows of each.
    pub(crate) columns: Columns,
}

/// A part of an image.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) image: usize,
    /// Number of the part among those of all images, in their order.
    pub(crate) number: usize,
    /// Its values, among those of all images: whole rows.
    pub(crate) values: Range<usize>,
}

impl Images {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.count * self.columns.len()
    }

    /// Number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.count * self.columns.tasks()
    }

    /// Calls `f` for every part, in tasks.
    pub(crate) fn for_each_part(&self, pool: &Pool, f: impl Fn(Part) + Sync) {
        // Images of which a task has several have one part.
        let parts_per_task = (TASK_LEN / self.columns.len()).max(1);
        pool.for_each(self.parts().div_ceil(parts_per_task), |task| {
            for number in (task * parts_per_task..self.parts()).take(parts_per_task) {
                let (image, part) = (number / self.columns.tasks(), number % self.columns.tasks());
                let (first, values) = (image * self.columns.len(), self.columns.task(part));
                f(Part { image, number, values: first + values.start..first + values.end });
            }
        });
    }
}
