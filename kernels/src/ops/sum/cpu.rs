//! SIMD implementation of the [module documentation](super)'s equations.

use crate::loops::{Lanewise, map, total};
use crate::simd::Simd;
use crate::{Cpu, Write};

/// `factor sum x`
pub(super) fn forward(cpu: &Cpu, factor: f64, x: &[f32], workspace: &mut [f32]) -> f32 {
    (factor * total(cpu, Element, [x], workspace)) as f32
}

/// `dx (+)= factor dy`
pub(super) fn backward(cpu: &Cpu, factor: f64, dy: f32, dx: &mut [f32], write: Write) {
    map(cpu, Constant((factor * f64::from(dy)) as f32), [], dx, write);
}

#[derive(Clone, Copy)]
struct Element;

impl Lanewise<1> for Element {
    #[inline(always)]
    fn eval<S: Simd>(self, _: S, [x]: [S::F32; 1]) -> S::F32 {
        x
    }
}

#[derive(Clone, Copy)]
struct Constant(f32);

impl Lanewise<0> for Constant {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, []: [S::F32; 0]) -> S::F32 {
        s.splat(self.0)
    }
}
