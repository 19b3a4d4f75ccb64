//! SIMD implementation of the [module documentation](super)'s equations.

use super::params::Constants;
use crate::loops::{Update, finite_or};
use crate::simd::Simd;

impl Constants {
    /// Parameter and buffer after a step, unless something overflows.
    #[inline(always)]
    fn step<S: Simd>(self, s: S, [param, buffer, grad]: [S::F32; 3]) -> [S::F32; 2] {
        let [lr, momentum, weight_decay] = [self.lr, self.momentum, self.weight_decay].map(|x| s.splat(x));
        let grad = s.mul_add(weight_decay, param, grad);
        let buffer = s.mul_add(momentum, buffer, grad);
        let direction = if self.nesterov == 1 { s.mul_add(momentum, buffer, grad) } else { buffer };
        [s.neg_mul_add(lr, direction, param), buffer]
    }
}

/// Without momentum.
impl Update<1> for Constants {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [param]: [S::F32; 1], grad: S::F32) -> [S::F32; 1] {
        let [param, _] = self.eval(s, [param, s.splat(0.0)], grad);
        [param]
    }
}

/// A step is linear in parameter, gradient and buffer. So where a value on the way to a result overflows, the step is
/// taken with all three divided by 2^64, and the result multiplied by it.
impl Update<2> for Constants {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [param, buffer]: [S::F32; 2], grad: S::F32) -> [S::F32; 2] {
        const SCALE: f32 = (1u128 << 64) as f32;
        let values = [param, buffer, grad];
        let [param, buffer] = self.step(s, values);
        let [scaled_param, scaled_buffer] = self.step(s, values.map(|x| s.mul(x, s.splat(1.0 / SCALE))));
        [
            finite_or(s, param, s.mul(scaled_param, s.splat(SCALE))),
            finite_or(s, buffer, s.mul(scaled_buffer, s.splat(SCALE))),
        ]
    }
}
