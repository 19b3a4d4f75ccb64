//! SIMD implementation of the [module documentation](super)'s equations.

use crate::host::Cpu;
use crate::loops::sum_of_tasks;
use crate::simd::{Kernel, Simd};

/// The norm. In f64, the square of an f32 value neither overflows nor underflows.
pub(super) fn norm(cpu: &Cpu, x: &[f32], workspace: &mut [f32]) -> f32 {
    let sum = sum_of_tasks(cpu, x.len(), workspace, |elements| cpu.isa.dispatch(SumOfSquares(&x[elements])));
    sum.sqrt() as f32
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
