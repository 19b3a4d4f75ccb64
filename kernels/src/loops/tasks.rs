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
    if out.is_empty() {
        return;
    }
    assert!(out.len().is_multiple_of(row_len), "{} values in rows of {row_len}", out.len());
    let rows = out.len() / row_len;
    let rows_per_task = (TASK_LEN / work.max(1)).max(1);
    let shared = SharedSlice::new(out);
    cpu.pool.for_each(rows.div_ceil(rows_per_task), |task| {
        let start = task * rows_per_task;
        let rows = start..rows.min(start + rows_per_task);
        // SAFETY: rows do not overlap, and belong to one task each.
        let out = unsafe { shared.slice(rows.start * row_len, rows.len() * row_len) };
        f(rows, out);
    });
}
