//! Bias gradient: the sum of every column of a matrix with many rows and few columns.
//!
//! The columns that a vector of consecutive values holds change from one vector to the next, unless `LANES` divides the
//! number of columns. But `LANES` rows are exactly `columns` vectors, so vector `i` and vector `i + columns` hold the
//! same columns: with one accumulator for each of `columns` vectors, no shape needs partial loads. Value `j` of the
//! accumulators belongs to column `j % columns`.
//!
//! The accumulators are in memory. Four vectors are added to each other before they are added to one, so that an
//! addition costs little more than its load, and the pass runs at the speed of memory.

use super::tasks::share;
use crate::host::Cpu;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Rows that are worth a task.
const MIN_ROWS: usize = 1024;
const MAX_TASKS: usize = 64;

fn tasks(rows: usize) -> usize {
    rows.div_ceil(MIN_ROWS).clamp(1, MAX_TASKS)
}

/// Scratch of [`grad_bias`], in elements.
pub(in crate::ops::conv2d) fn workspace_len(rows: usize, channels: usize) -> usize {
    tasks(rows) * MAX_LANES * channels
}

/// `db (+)= sum of the rows of dy`
pub(in crate::ops::conv2d) fn grad_bias(cpu: &Cpu, dy: &[f32], db: &mut [f32], write: Write, workspace: &mut [f32]) {
    let channels = db.len();
    let rows = dy.len() / channels;
    let (tasks, piece) = (tasks(rows), MAX_LANES * channels);
    let workspace = &mut workspace[..tasks * piece];
    let shared = SharedSlice::new(workspace);
    cpu.pool.for_each(tasks, |i| {
        let rows = share(rows, tasks, i);
        let dy = &dy[rows.start * channels..rows.end * channels];
        // SAFETY: every task has its own piece.
        let sums = unsafe { shared.slice(i * piece, piece) };
        cpu.isa.dispatch(ColumnSums { dy, channels, sums });
    });
    for (k, db) in db.iter_mut().enumerate() {
        let sum: f64 = workspace.chunks_exact(piece).map(|sums| f64::from(sums[k])).sum();
        write.put(db, sum as f32);
    }
}

/// Sets the first `channels` of `sums` to the sums of the columns of `dy`; the rest of `sums` is scratch.
struct ColumnSums<'a> {
    dy: &'a [f32],
    channels: usize,
    sums: &'a mut [f32],
}

impl Kernel for ColumnSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ColumnSums { dy, channels, sums } = self;
        let period = channels * S::LANES;
        let sums = &mut sums[..period];
        sums.fill(0.0);
        let mut blocks = dy.chunks_exact(4 * period);
        for block in &mut blocks {
            for i in (0..period).step_by(S::LANES) {
                // SAFETY: `i + LANES <= period`, and `block` holds four periods.
                unsafe {
                    let x = |j: usize| s.load(block.as_ptr().add(j * period + i));
                    let four = s.add(s.add(x(0), x(1)), s.add(x(2), x(3)));
                    let sum = sums.as_mut_ptr().add(i);
                    s.store(sum, s.add(s.load(sum), four));
                }
            }
        }
        for period in blocks.remainder().chunks(period) {
            sums.iter_mut().zip(period).for_each(|(sum, x)| *sum += x);
        }
        for k in 0..channels {
            let sum: f64 = sums[k..].iter().step_by(channels).map(|&x| f64::from(x)).sum();
            sums[k] = sum as f32;
        }
    }
}
