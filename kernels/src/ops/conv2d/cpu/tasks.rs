//! How tasks share work, and how their sums are added up.

use crate::parallel::{Pool, SharedSlice};
use crate::pass::Write;
use std::ops::Range;

/// A task of fewer operations is not worth starting.
const TASK_FLOPS: usize = 2_000_000;

/// Tasks that a pass is cut into at least, if it is large enough.
const MIN_TASKS: usize = 16;

/// Tasks that a pass of `flops` operations should have.
pub(super) fn wanted_tasks(flops: usize) -> usize {
    (flops / TASK_FLOPS).clamp(1, MIN_TASKS)
}

/// Share `i` of `0..len`, if there are `shares` nearly equal ones.
pub(in crate::ops) fn share(len: usize, shares: usize, i: usize) -> Range<usize> {
    i * len / shares..(i + 1) * len / shares
}

/// `out (+)= sum of the partial sums`, added in their order. `partial` holds arrays of `out`'s length one after the
/// other.
pub(super) fn add_up(pool: &Pool, partial: &[f32], out: &mut [f32], write: Write) {
    const CHUNK: usize = 4096;
    let len = out.len();
    assert!(partial.len().is_multiple_of(len));
    let shared = SharedSlice::new(out);
    pool.for_each(len.div_ceil(CHUNK), |i| {
        let start = i * CHUNK;
        // SAFETY: every task has its own chunk.
        let out = unsafe { shared.slice(start, CHUNK.min(len - start)) };
        if write == Write::Set {
            out.fill(0.0);
        }
        for sums in partial.chunks_exact(len) {
            out.iter_mut().zip(&sums[start..]).for_each(|(out, x)| *out += x);
        }
    });
}
