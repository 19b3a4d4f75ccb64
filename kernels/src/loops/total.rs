//! Sums over all elements.

use super::{Lanewise, TASK_LEN};
use crate::Cpu;
use crate::host::{as_f64, f64_workspace_len};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, MAX_LANES, Simd};
use std::ops::Range;

/// The sum of `term(inputs)` over all elements. Each lane of a vector sums few terms in f32; these sums are added up in
/// f64, in the order of the elements.
pub(crate) fn total<const N: usize, F: Lanewise<N>>(
    cpu: &Cpu,
    term: F,
    inputs: [&[f32]; N],
    workspace: &mut [f32],
) -> f64 {
    let len = inputs[0].len();
    assert!(inputs.iter().all(|input| input.len() == len), "operands of unequal length");
    sum_of_tasks(cpu, len, workspace, |elements| {
        cpu.isa.dispatch(Sum { term, inputs: inputs.map(|input| &input[elements.clone()]) })
    })
}

/// The sum of what `f` gives for the elements of each task, in their order. Needs the scratch of [`total`].
pub(crate) fn sum_of_tasks(
    cpu: &Cpu,
    len: usize,
    workspace: &mut [f32],
    f: impl Fn(Range<usize>) -> f64 + Sync,
) -> f64 {
    let sums = &mut as_f64(workspace)[..len.div_ceil(TASK_LEN)];
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let sum = f(task * TASK_LEN..len.min((task + 1) * TASK_LEN));
        // SAFETY: every task has its own element.
        unsafe { shared.slice(task, 1)[0] = sum };
    });
    sums.iter().sum()
}

/// Scratch of [`total`] over `len` elements, in elements.
pub(crate) fn total_workspace_len(len: usize) -> usize {
    f64_workspace_len(len.div_ceil(TASK_LEN))
}

/// The sum of the terms of one task.
struct Sum<'a, F, const N: usize> {
    term: F,
    inputs: [&'a [f32]; N],
}

/// Vectors that one accumulator adds up in f32, before its sum is added to one in f64.
const BLOCK: usize = 32;

/// Accumulators, which hide the latency of an addition.
const UNROLL: usize = 4;

impl<const N: usize, F: Lanewise<N>> Sum<'_, F, N> {
    /// The sum of the terms of elements `start..end`, at most [`BLOCK`] vectors of each accumulator.
    #[inline(always)]
    fn of_block<S: Simd>(&self, s: S, start: usize, end: usize) -> f32 {
        assert!(self.inputs.iter().all(|input| end <= input.len()));
        let mut sums = [s.splat(0.0); UNROLL];
        let mut i = start;
        while i + UNROLL * S::LANES <= end {
            for (k, sum) in sums.iter_mut().enumerate() {
                // SAFETY: LANES elements are inside every input.
                let values = self.inputs.map(|input| unsafe { s.load(input.as_ptr().add(i + k * S::LANES)) });
                *sum = s.add(*sum, self.term.eval(s, values));
            }
            i += UNROLL * S::LANES;
        }
        while i < end {
            let count = S::LANES.min(end - i);
            // SAFETY: `count` elements at `i` are inside every input.
            let values = self.inputs.map(|input| unsafe { s.load_first(input.as_ptr().add(i), count) });
            // Lanes behind the last element do not count, whatever the term of their zeros is.
            let mut terms = [0.0; MAX_LANES];
            // SAFETY: `terms` has a vector's lanes.
            sums[0] = s.add(sums[0], unsafe {
                s.store_first(terms.as_mut_ptr(), self.term.eval(s, values), count);
                s.load(terms.as_ptr())
            });
            i += count;
        }
        let [a, b, c, d] = sums;
        s.sum(s.add(s.add(a, b), s.add(c, d)))
    }
}

impl<const N: usize, F: Lanewise<N>> Kernel for Sum<'_, F, N> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (len, block) = (self.inputs[0].len(), BLOCK * UNROLL * S::LANES);
        (0..len).step_by(block).map(|start| f64::from(self.of_block(s, start, len.min(start + block)))).sum()
    }
}
