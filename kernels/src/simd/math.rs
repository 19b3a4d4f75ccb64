//! Elementary functions on vectors.

use super::Simd;

/// `c[0] + c[1] x + c[2] x^2 + ...`, by Horner's rule.
#[inline(always)]
pub fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, c: [f32; N]) -> S::F32 {
    let mut sum = s.splat(c[N - 1]);
    for k in (0..N - 1).rev() {
        sum = s.mul_add(sum, x, s.splat(c[k]));
    }
    sum
}

/// `exp(x)` for `x` in `[-87, 0]`.
#[inline(always)]
pub fn exp_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.neg_mul_add(n, s.splat(0.693_359_4), x);
    let r = s.neg_mul_add(n, s.splat(-2.121_944_4e-4), r);
    let p = polynomial(s, r, [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0]);
    s.mul(p, s.exp2_integer(n))
}

/// `(Phi(-a), phi(a))` for `a` in `[0, 12.9]`: tail and density of the standard normal distribution.
#[inline(always)]
pub fn normal_tail<S: Simd>(s: S, a: S::F32) -> (S::F32, S::F32) {
    let e = exp_nonpositive(s, s.mul(s.mul(a, a), s.splat(-0.5)));
    let p = polynomial(s, a, [0.499_999_82, 0.361_023_52, 0.118_987_806, 0.016_918_878]);
    let q = polynomial(s, a, [1.0, 1.519_913_7, 0.950_834_1, 0.298_047_06, 0.042_414_644]);
    let tail = s.div(s.mul(e, p), q);
    (tail, s.mul(e, s.splat(0.398_942_3)))
}
