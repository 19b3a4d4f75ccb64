//! SIMD implementation of the [module documentation](super)'s equations.

use super::params::Constants;
use crate::loops::{Update, finite_or};
use crate::simd::Simd;

/// `m` moves the fraction `1 - beta1` of its distance from the gradient, and `v` likewise from its square, since `1 -
/// beta` is precise in f32. `beta` is not: 0.999 is off by 1e-5 of `1 - beta`, which would be the relative error of a
/// settled `v`.
///
/// The distance overflows where the new value does not, if a gradient is above 1e19; then the sum is taken as the
/// equation says. An infinite `v` stays infinite, and the parameter stays as it is.
impl Update<3> for Constants {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [param, m, v]: [S::F32; 3], grad: S::F32) -> [S::F32; 3] {
        let [new_m, new_v] = [self.new_m, self.new_v].map(|share| s.splat(share));
        let [old_m, old_v] = [self.new_m, self.new_v].map(|share| s.splat(1.0 - share));
        let summed_m = s.mul_add(new_m, grad, s.mul(old_m, m));
        let m = finite_or(s, s.mul_add(new_m, s.sub(grad, m), m), summed_m);
        let summed_v = s.mul_add(s.mul(new_v, grad), grad, s.mul(old_v, v));
        let v = finite_or(s, s.mul_add(new_v, s.sub(s.mul(grad, grad), v), v), summed_v);
        let denominator = s.mul_add(s.sqrt(v), s.splat(self.correction), s.splat(self.eps));
        let change = s.div(s.mul(s.splat(self.rate), m), denominator);
        [s.sub(s.mul(s.splat(self.decay), param), change), m, v]
    }
}
