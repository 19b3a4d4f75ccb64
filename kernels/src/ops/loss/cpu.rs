//! SIMD implementation of the [module documentation](super)'s equations.

use super::function::Loss;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{Lanewise, TASK_LEN, map};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// The loss. Each lane of a vector sums few values in f32; these sums are added up in f64, in the order of the
/// elements.
pub(super) fn forward(cpu: &Cpu, loss: Loss, prediction: &[f32], target: &[f32], workspace: &mut [f32]) -> f32 {
    let len = prediction.len();
    let sums = &mut as_f64(workspace)[..len.div_ceil(TASK_LEN)];
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let elements = task * TASK_LEN..len.min((task + 1) * TASK_LEN);
        let (prediction, target) = (&prediction[elements.clone()], &target[elements]);
        let sum = match loss {
            Loss::L1 => cpu.isa.dispatch(Sum { term: Absolute, prediction, target }),
            Loss::Mse => cpu.isa.dispatch(Sum { term: Square, prediction, target }),
        };
        // SAFETY: every task has its own element.
        unsafe { shared.slice(task, 1)[0] = sum };
    });
    (sums.iter().sum::<f64>() / len as f64) as f32
}

/// Scratch of [`forward`], in elements.
pub(super) fn forward_workspace_len(len: usize) -> usize {
    f64_workspace_len(len.div_ceil(TASK_LEN))
}

/// `dprediction (+)= dloss l'(prediction)`
pub(super) fn backward(
    cpu: &Cpu,
    loss: Loss,
    [prediction, target]: [&[f32]; 2],
    dloss: f32,
    dprediction: &mut [f32],
    write: Write,
) {
    let scale = f64::from(dloss) / prediction.len() as f64;
    let inputs = [Some(prediction), Some(target)];
    match loss {
        Loss::L1 => map(cpu, AbsoluteSlope(scale as f32), inputs, dprediction, write),
        Loss::Mse => map(cpu, SquareSlope((2.0 * scale) as f32), inputs, dprediction, write),
    }
}

/// What one element adds to the loss.
trait Term: Copy {
    /// The term of an error. Must be `#[inline(always)]`.
    fn eval<S: Simd>(self, s: S, error: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Absolute;

impl Term for Absolute {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, error: S::F32) -> S::F32 {
        s.abs(error)
    }
}

#[derive(Clone, Copy)]
struct Square;

impl Term for Square {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, error: S::F32) -> S::F32 {
        s.mul(error, error)
    }
}

/// The sum of the terms of one task.
struct Sum<'a, T> {
    term: T,
    prediction: &'a [f32],
    target: &'a [f32],
}

/// Vectors that one accumulator adds up in f32, before its sum is added to one in f64.
const BLOCK: usize = 32;

impl<T: Term> Kernel for Sum<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        const UNROLL: usize = 4;
        let mut sum = 0.0;
        let block = BLOCK * UNROLL * S::LANES;
        for (prediction, target) in self.prediction.chunks(block).zip(self.target.chunks(block)) {
            let len = prediction.len();
            assert_eq!(target.len(), len);
            let (prediction, target) = (prediction.as_ptr(), target.as_ptr());
            let mut sums = [s.splat(0.0); UNROLL];
            let mut i = 0;
            while i + UNROLL * S::LANES <= len {
                for (k, sum) in sums.iter_mut().enumerate() {
                    let i = i + k * S::LANES;
                    // SAFETY: LANES elements at `i` are inside both.
                    let error = unsafe { s.sub(s.load(prediction.add(i)), s.load(target.add(i))) };
                    *sum = s.add(*sum, self.term.eval(s, error));
                }
                i += UNROLL * S::LANES;
            }
            while i < len {
                let count = S::LANES.min(len - i);
                // SAFETY: `count` elements at `i` are inside both.
                let error =
                    unsafe { s.sub(s.load_partial(prediction.add(i), count), s.load_partial(target.add(i), count)) };
                sums[0] = s.add(sums[0], self.term.eval(s, error));
                i += count;
            }
            let [a, b, c, d] = sums;
            sum += f64::from(s.sum(s.add(s.add(a, b), s.add(c, d))));
        }
        sum
    }
}

/// `scale sign(prediction - target)`
#[derive(Clone, Copy)]
struct AbsoluteSlope(f32);

impl Lanewise<2> for AbsoluteSlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        let error = s.sub(prediction, target);
        // What is neither less nor greater: 0 where the error is 0, NaN where it is NaN.
        let neither = s.mul(error, s.splat(0.0));
        let negative = s.select(s.less(prediction, target), s.splat(-self.0), neither);
        s.select(s.less(target, prediction), s.splat(self.0), negative)
    }
}

/// `scale (prediction - target)`
#[derive(Clone, Copy)]
struct SquareSlope(f32);

impl Lanewise<2> for SquareSlope {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [prediction, target]: [S::F32; 2]) -> S::F32 {
        s.mul(s.splat(self.0), s.sub(prediction, target))
    }
}
