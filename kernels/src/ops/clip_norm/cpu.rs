//! SIMD implementation of the [module documentation](super)'s equations.

use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::TASK_LEN;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};

/// The norm. In f64, the square of an f32 value neither overflows nor underflows.
pub(super) fn norm(cpu: &Cpu, x: &[f32], workspace: &mut [f32]) -> f32 {
    let tasks = x.len().div_ceil(TASK_LEN);
    let sums = &mut as_f64(workspace)[..tasks];
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each(tasks, |task| {
        let elements = task * TASK_LEN..x.len().min((task + 1) * TASK_LEN);
        let sum = cpu.isa.dispatch(SumOfSquares(&x[elements]));
        // SAFETY: every task has its own element.
        unsafe { shared.slice(task, 1)[0] = sum };
    });
    sums.iter().sum::<f64>().sqrt() as f32
}

/// Scratch of [`norm`], in elements.
pub(super) fn norm_workspace_len(len: usize) -> usize {
    f64_workspace_len(len.div_ceil(TASK_LEN))
}

/// The sum of one task, in an order that does not depend on the instruction set.
struct SumOfSquares<'a>(&'a [f32]);

/// Independent sums, which the compiler keeps in vectors.
const SUMS: usize = 16;

impl Kernel for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0; SUMS];
        let (blocks, rest) = self.0.as_chunks::<SUMS>();
        for block in blocks {
            for (sum, &x) in sums.iter_mut().zip(block) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += f64::from(x) * f64::from(x);
        }
        sums.iter().sum()
    }
}
