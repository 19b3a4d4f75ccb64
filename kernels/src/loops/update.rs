//! Steps of an optimizer: several values change by their gradient, element by element.

use super::TASK_LEN;
use crate::Cpu;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, MAX_LANES, Simd};
use std::sync::atomic::{AtomicBool, Ordering};

/// How `N` values change: a function of the same lane of these and of a gradient.
pub(crate) trait Update<const N: usize>: Copy + Send + Sync {
    /// The new values. Must be `#[inline(always)]`.
    fn eval<S: Simd>(self, s: S, values: [S::F32; N], grad: S::F32) -> [S::F32; N];
}

/// Changes every element of `values`.
pub(crate) fn update<const N: usize, F: Update<N>>(cpu: &Cpu, f: F, values: [&mut [f32]; N], grad: &[f32]) {
    let len = grad.len();
    let values = values.map(SharedSlice::new);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let start = task * TASK_LEN;
        let len = TASK_LEN.min(len - start);
        // SAFETY: tasks do not overlap.
        let values = values.map(|shared| unsafe { shared.slice(start, len) });
        cpu.isa.dispatch(Step { f, values, grad: &grad[start..start + len] });
    });
}

/// Whether [`update`] would leave finite values only.
pub(crate) fn stays_finite<const N: usize, F: Update<N>>(cpu: &Cpu, f: F, values: [&[f32]; N], grad: &[f32]) -> bool {
    let len = grad.len();
    let all_finite = AtomicBool::new(true);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let range = task * TASK_LEN..len.min((task + 1) * TASK_LEN);
        let values = values.map(|values| &values[range.clone()]);
        if !cpu.isa.dispatch(StaysFinite { f, values, grad: &grad[range] }) {
            all_finite.store(false, Ordering::Relaxed);
        }
    });
    all_finite.into_inner()
}

/// One task of [`update`].
struct Step<'a, F, const N: usize> {
    f: F,
    values: [&'a mut [f32]; N],
    grad: &'a [f32],
}

impl<F: Update<N>, const N: usize> Kernel for Step<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.grad.len();
        assert!(self.values.iter().all(|values| values.len() == len));
        let (values, grad) = (self.values.map(<[f32]>::as_mut_ptr), self.grad.as_ptr());
        let mut i = 0;
        while i + S::LANES <= len {
            // SAFETY: LANES elements at `i` are inside all operands.
            unsafe {
                let old = values.map(|values| s.load(values.add(i)));
                let new = self.f.eval(s, old, s.load(grad.add(i)));
                for (values, new) in values.into_iter().zip(new) {
                    s.store(values.add(i), new);
                }
            }
            i += S::LANES;
        }
        let rest = len - i;
        if rest > 0 {
            // SAFETY: as above, with `rest` elements.
            unsafe {
                let old = values.map(|values| s.load_partial(values.add(i), rest));
                let new = self.f.eval(s, old, s.load_partial(grad.add(i), rest));
                for (values, new) in values.into_iter().zip(new) {
                    s.store_partial(values.add(i), new, rest);
                }
            }
        }
    }
}

/// One task of [`stays_finite`]. 0 times a value is 0 if that is finite, and NaN if not.
struct StaysFinite<'a, F, const N: usize> {
    f: F,
    values: [&'a [f32]; N],
    grad: &'a [f32],
}

impl<F: Update<N>, const N: usize> Kernel for StaysFinite<'_, F, N> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let len = self.grad.len();
        assert!(self.values.iter().all(|values| values.len() == len));
        let (values, grad) = (self.values.map(<[f32]>::as_ptr), self.grad.as_ptr());
        let zero = s.splat(0.0);
        let add = |sum, old, grad| self.f.eval(s, old, grad).into_iter().fold(sum, |sum, x| s.mul_add(x, zero, sum));
        let (mut i, mut sum) = (0, zero);
        while i + S::LANES <= len {
            // SAFETY: LANES elements at `i` are inside all operands.
            sum = unsafe { add(sum, values.map(|values| s.load(values.add(i))), s.load(grad.add(i))) };
            i += S::LANES;
        }
        let rest = len - i;
        let mut of_rest = [0.0; MAX_LANES];
        if rest > 0 {
            // SAFETY: `rest` elements at `i` are inside all operands, and fewer than `of_rest` has. The other lanes are
            // not elements, and not stored.
            unsafe {
                let old = values.map(|values| s.load_partial(values.add(i), rest));
                let sum = add(zero, old, s.load_partial(grad.add(i), rest));
                s.store_partial(of_rest.as_mut_ptr(), sum, rest);
            }
        }
        s.sum(sum) == 0.0 && of_rest == [0.0; MAX_LANES]
    }
}

/// `x` where that is finite, else `other`.
#[inline(always)]
pub(crate) fn finite_or<S: Simd>(s: S, x: S::F32, other: S::F32) -> S::F32 {
    s.select(s.less(s.abs(x), s.splat(f32::INFINITY)), x, other)
}
