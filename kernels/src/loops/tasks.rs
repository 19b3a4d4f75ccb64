//! Tasks of whole rows.

use super::TASK_LEN;
use crate::Cpu;
use crate::parallel::SharedSlice;
use std::ops::Range;

/// Cuts `out`, rows of `row_len` values each, into tasks, and calls `f` for each with its rows and their values. `work`
/// is how many elements it takes to compute a row.
pub(crate) fn for_rows(
    cpu: &Cpu,
    out: &mut [f32],
    row_len: usize,
    work: usize,
    f: impl Fn(Range<usize>, &mut [f32]) + Sync,
) {
    let rows = Rows::new(out, row_len, work);
    cpu.pool.for_each(rows.tasks(), |task| rows.run(task, &f));
}

/// As [`for_rows`], and gives `f` a piece of `scratch`: one of as many as threads, all of the same length.
pub(crate) fn for_rows_with_scratch(
    cpu: &Cpu,
    out: &mut [f32],
    row_len: usize,
    work: usize,
    scratch: &mut [f32],
    f: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
) {
    let rows = Rows::new(out, row_len, work);
    cpu.pool.for_each_with_scratch(rows.tasks(), scratch, |task, scratch| {
        rows.run(task, |rows, out| f(rows, out, scratch));
    });
}

/// Rows that tasks write.
struct Rows<'a> {
    out: SharedSlice<'a, f32>,
    row_len: usize,
    rows: usize,
    rows_per_task: usize,
}

impl<'a> Rows<'a> {
    fn new(out: &'a mut [f32], row_len: usize, work: usize) -> Rows<'a> {
        let rows = if out.is_empty() { 0 } else { out.len() / row_len };
        assert_eq!(out.len(), rows * row_len, "rows of {row_len}");
        Rows { out: SharedSlice::new(out), row_len, rows, rows_per_task: (TASK_LEN / work.max(1)).max(1) }
    }

    fn tasks(&self) -> usize {
        self.rows.div_ceil(self.rows_per_task)
    }

    /// Calls `f` for a task, which runs once.
    fn run(&self, task: usize, f: impl FnOnce(Range<usize>, &mut [f32])) {
        let start = task * self.rows_per_task;
        let rows = start..self.rows.min(start + self.rows_per_task);
        // SAFETY: rows do not overlap, and belong to one task each.
        let out = unsafe { self.out.slice(rows.start * self.row_len, rows.len() * self.row_len) };
        f(rows, out);
    }
}
