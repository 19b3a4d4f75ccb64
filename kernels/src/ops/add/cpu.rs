//! SIMD implementation of the [module documentation](super)'s equations.

use crate::loops::{Lanewise, TASK_LEN, map};
use crate::parallel::SharedSlice;
use crate::simd::Simd;
use crate::{Cpu, Write};

/// `y = a + weight b`; an input is `None` if `y` holds it.
pub fn add(cpu: &Cpu, weight: f64, a: Option<&[f32]>, b: Option<&[f32]>, y: &mut [f32]) {
    map(cpu, WeightedSum(weight as f32), [a, b], y, Write::Set);
}

/// `y (+)= weight x`; `x` is `None` if `y` holds it.
pub fn scale(cpu: &Cpu, weight: f64, x: Option<&[f32]>, y: &mut [f32], write: Write) {
    match x {
        _ if weight != 1.0 || write == Write::Add => map(cpu, Product(weight as f32), [x], y, write),
        Some(x) => copy(cpu, x, y),
        None => {}
    }
}

/// `y = x`
fn copy(cpu: &Cpu, x: &[f32], y: &mut [f32]) {
    let len = y.len();
    let shared = SharedSlice::new(y);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let elements = task * TASK_LEN..len.min((task + 1) * TASK_LEN);
        // SAFETY: tasks do not overlap.
        unsafe { shared.slice(elements.start, elements.len()) }.copy_from_slice(&x[elements]);
    });
}

#[derive(Clone, Copy)]
struct WeightedSum(f32);

impl Lanewise<2> for WeightedSum {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [a, b]: [S::F32; 2]) -> S::F32 {
        s.mul_add(s.splat(self.0), b, a)
    }
}

#[derive(Clone, Copy)]
struct Product(f32);

impl Lanewise<1> for Product {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [x]: [S::F32; 1]) -> S::F32 {
        s.mul(s.splat(self.0), x)
    }
}
