//! SIMD implementation of the [module documentation](super)'s equations.

use super::params::{AdamWParams, Constants};
use crate::host::Cpu;
use crate::loops::TASK_LEN;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, MAX_LANES, Simd};
use std::sync::atomic::{AtomicBool, Ordering};

/// One step.
pub(super) fn step(cpu: &Cpu, p: &AdamWParams, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
    let len = grad.len();
    let constants = Constants::new(p);
    let [param, m, v] = [param, m, v].map(SharedSlice::new);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let start = task * TASK_LEN;
        let len = TASK_LEN.min(len - start);
        // SAFETY: tasks do not overlap.
        let [param, m, v] = [param, m, v].map(|shared| unsafe { shared.slice(start, len) });
        cpu.isa.dispatch(Step { constants, param, grad: &grad[start..start + len], m, v });
    });
}

/// Whether a step would leave finite values only.
pub(super) fn stays_finite(cpu: &Cpu, p: &AdamWParams, state: [&[f32]; 4]) -> bool {
    let (len, constants) = (state[1].len(), Constants::new(p));
    let all_finite = AtomicBool::new(true);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let range = task * TASK_LEN..len.min((task + 1) * TASK_LEN);
        let state = state.map(|values| &values[range.clone()]);
        if !cpu.isa.dispatch(StaysFinite { constants, state }) {
            all_finite.store(false, Ordering::Relaxed);
        }
    });
    all_finite.into_inner()
}

struct Step<'a> {
    constants: Constants,
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.grad.len();
        assert!(self.param.len() == len && self.m.len() == len && self.v.len() == len);
        let (param, grad) = (self.param.as_mut_ptr(), self.grad.as_ptr());
        let (m, v) = (self.m.as_mut_ptr(), self.v.as_mut_ptr());
        let mut i = 0;
        while i + S::LANES <= len {
            // SAFETY: LANES elements at `i` are inside all four.
            unsafe {
                let state = [s.load(param.add(i)), s.load(grad.add(i)), s.load(m.add(i)), s.load(v.add(i))];
                let [new_param, new_m, new_v] = update(s, &self.constants, state);
                s.store(param.add(i), new_param);
                s.store(m.add(i), new_m);
                s.store(v.add(i), new_v);
            }
            i += S::LANES;
        }
        let rest = len - i;
        if rest > 0 {
            // SAFETY: as above, with `rest` elements.
            unsafe {
                let state = load_rest(s, [param.cast_const(), grad, m.cast_const(), v.cast_const()], i, rest);
                let [new_param, new_m, new_v] = update(s, &self.constants, state);
                s.store_partial(param.add(i), new_param, rest);
                s.store_partial(m.add(i), new_m, rest);
                s.store_partial(v.add(i), new_v, rest);
            }
        }
    }
}

/// Whether a step of `[param, grad, m, v]` would leave finite values only. 0 times a value is 0 if that is finite, and
/// NaN if not.
struct StaysFinite<'a> {
    constants: Constants,
    state: [&'a [f32]; 4],
}

impl Kernel for StaysFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let len = self.state[1].len();
        assert!(self.state.iter().all(|values| values.len() == len));
        let state = self.state.map(<[f32]>::as_ptr);
        let zero = s.splat(0.0);
        let add =
            |sum, state| update(s, &self.constants, state).into_iter().fold(sum, |sum, x| s.mul_add(x, zero, sum));
        let (mut i, mut sum) = (0, zero);
        while i + S::LANES <= len {
            // SAFETY: LANES elements at `i` are inside all four.
            sum = add(sum, unsafe { state.map(|values| s.load(values.add(i))) });
            i += S::LANES;
        }
        let rest = len - i;
        let mut of_rest = [0.0; MAX_LANES];
        if rest > 0 {
            // SAFETY: `rest` elements at `i` are inside all four, and fewer than `of_rest` has. The other lanes are not
            // elements, and not stored.
            unsafe {
                let state = load_rest(s, state, i, rest);
                s.store_partial(of_rest.as_mut_ptr(), add(zero, state), rest);
            }
        }
        s.sum(sum) == 0.0 && of_rest == [0.0; MAX_LANES]
    }
}

/// The last elements of `[param, grad, m, v]`, `rest` of them from `i` on.
///
/// # Safety
/// All four are valid for reads of so many elements, which are fewer than a vector has.
#[inline(always)]
unsafe fn load_rest<S: Simd>(s: S, state: [*const f32; 4], i: usize, rest: usize) -> [S::F32; 4] {
    // SAFETY: the caller's promise.
    state.map(|values| unsafe { s.load_partial(values.add(i), rest) })
}

/// The new `[param, m, v]`. `m` moves the fraction `1 - beta1` of its distance from the gradient, and `v` likewise from
/// its square, since `1 - beta` is precise in f32. `beta` is not: 0.999 is off by 1e-5 of `1 - beta`, which would be
/// the relative error of a settled `v`.
///
/// The distance overflows where the new value does not, if a gradient is above 1e19; then the sum is taken as the
/// equation says. An infinite `v` stays infinite, and the parameter stays as it is.
#[inline(always)]
fn update<S: Simd>(s: S, c: &Constants, [param, grad, m, v]: [S::F32; 4]) -> [S::F32; 3] {
    let [new_m, new_v] = [c.new_m, c.new_v].map(|share| s.splat(share));
    let [old_m, old_v] = [c.new_m, c.new_v].map(|share| s.splat(1.0 - share));
    let finite_or = |x: S::F32, other: S::F32| s.select(s.less(s.abs(x), s.splat(f32::INFINITY)), x, other);
    let m = finite_or(s.mul_add(new_m, s.sub(grad, m), m), s.mul_add(new_m, grad, s.mul(old_m, m)));
    let summed_v = s.mul_add(s.mul(new_v, grad), grad, s.mul(old_v, v));
    let v = finite_or(s.mul_add(new_v, s.sub(s.mul(grad, grad), v), v), summed_v);
    let denominator = s.mul_add(s.sqrt(v), s.splat(c.correction), s.splat(c.eps));
    let change = s.div(s.mul(s.splat(c.rate), m), denominator);
    [s.sub(s.mul(s.splat(c.decay), param), change), m, v]
}
