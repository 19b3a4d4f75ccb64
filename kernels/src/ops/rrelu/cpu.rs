//! SIMD implementation of the [module documentation](super)'s equations.

use super::slopes::{MEAN, Slopes, slope_of};
use crate::host::Cpu;
use crate::loops::{Drawn, Lanewise, map, map_drawn};
use crate::pass::Write;
use crate::simd::Simd;

/// `out (+)= v` where `x > 0`, else its slope times `v`: the forward pass with `x` as `v`, the backward pass with `dy`.
/// An operand that is `None` is `out` itself, as it was before.
pub(super) fn apply(cpu: &Cpu, slopes: Slopes, inputs: [Option<&[f32]>; 2], out: &mut [f32], write: Write) {
    match slopes {
        Slopes::Random(words) => map_drawn(cpu, Rectifier, words, inputs, out, write),
        Slopes::Mean => map(cpu, Rectifier, inputs, out, write),
    }
}

/// The function of `x` and `v`.
#[derive(Clone, Copy)]
struct Rectifier;

impl Drawn<2> for Rectifier {
    #[inline(always)]
    fn number(self, word: u32) -> f32 {
        slope_of(word)
    }

    #[inline(always)]
    fn eval<S: Simd>(self, s: S, slope: S::F32, [x, v]: [S::F32; 2]) -> S::F32 {
        s.select(s.less(s.splat(0.0), x), v, s.mul(slope, v))
    }
}

impl Lanewise<2> for Rectifier {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, inputs: [S::F32; 2]) -> S::F32 {
        Drawn::eval(self, s, s.splat(MEAN as f32), inputs)
    }
}
