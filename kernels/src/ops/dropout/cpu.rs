//! SIMD implementation of the [module documentation](super)'s equations.

use super::Factors;
use crate::host::Cpu;
use crate::loops::{Drawn, map_drawn};
use crate::pass::Write;
use crate::random::ElementWords;
use crate::simd::Simd;

/// `y (+)= f_i x`; `x` is `None` if `y` holds it.
pub(super) fn apply(cpu: &Cpu, factors: Factors, words: ElementWords, x: Option<&[f32]>, y: &mut [f32], write: Write) {
    let Factors { threshold, scale } = factors;
    map_drawn(cpu, Factor { threshold, scale: scale as f32 }, words, [x], y, write);
}

#[derive(Clone, Copy)]
struct Factor {
    threshold: u32,
    scale: f32,
}

impl Drawn<1> for Factor {
    #[inline(always)]
    fn number(self, word: u32) -> f32 {
        if word < self.threshold { 0.0 } else { self.scale }
    }

    #[inline(always)]
    fn eval<S: Simd>(self, s: S, factor: S::F32, [x]: [S::F32; 1]) -> S::F32 {
        s.mul(factor, x)
    }
}
