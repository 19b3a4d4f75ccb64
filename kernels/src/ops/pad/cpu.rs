//! The [module documentation](super)'s equations as copies of rows.

use super::params::PadParams;
use crate::host::Cpu;
use crate::loops::TASK_LEN;
use crate::parallel::SharedSlice;
use crate::pass::Write;

/// `y = x` inside, 0 outside
pub(super) fn forward(cpu: &Cpu, p: &PadParams, x: &[f32], y: &mut [f32]) {
    let short = p.w0 * p.c;
    for_each_row(cpu, p.n * p.h1, y, |row, y| {
        let (n, h) = (row / p.h1, row % p.h1);
        let (inside, outside) = y.split_at_mut(if h < p.h0 { short } else { 0 });
        if !inside.is_empty() {
            inside.copy_from_slice(&x[(n * p.h0 + h) * short..][..short]);
        }
        outside.fill(0.0);
    });
}

/// `dx (+)= dy` inside
pub(super) fn backward(cpu: &Cpu, p: &PadParams, dy: &[f32], dx: &mut [f32], write: Write) {
    let (short, long) = (p.w0 * p.c, p.w1 * p.c);
    for_each_row(cpu, p.n * p.h0, dx, |row, dx| {
        let (n, h) = (row / p.h0, row % p.h0);
        let dy = &dy[(n * p.h1 + h) * long..][..short];
        match write {
            Write::Set => dx.copy_from_slice(dy),
            Write::Add => dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy),
        }
    });
}

/// Calls `f` with the index and the elements of each of `rows` rows of `out`.
fn for_each_row(cpu: &Cpu, rows: usize, out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.is_empty() {
        return;
    }
    let len = out.len() / rows;
    let rows_per_task = (TASK_LEN / len).max(1);
    let shared = SharedSlice::new(out);
    cpu.pool.for_each(rows.div_ceil(rows_per_task), |task| {
        let start = task * rows_per_task;
        for row in start..rows.min(start + rows_per_task) {
            // SAFETY: rows do not overlap, and belong to one task each.
            f(row, unsafe { shared.slice(row * len, len) });
        }
    });
}
