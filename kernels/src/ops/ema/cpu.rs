//! SIMD implementation of the [module documentation](super)'s equations.

use crate::host::Cpu;
use crate::loops::{Update, finite_or, update};
use crate::simd::Simd;

/// One step; `share` is the weight of the parameter.
pub(super) fn step(cpu: &Cpu, share: f64, param: &[f32], average: &mut [f32]) {
    update(cpu, Average { share: share as f32 }, [average], param);
}

#[derive(Clone, Copy)]
struct Average {
    share: f32,
}

/// The distance of two large values may overflow where their average does not: then the sum is taken.
impl Update<1> for Average {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [average]: [S::F32; 1], param: S::F32) -> [S::F32; 1] {
        let share = s.splat(self.share);
        let moved = s.mul_add(share, s.sub(param, average), average);
        let sum = s.mul_add(share, param, s.mul(s.splat(1.0 - self.share), average));
        [finite_or(s, moved, sum)]
    }
}
