//! Elementary functions on vectors.

use super::Simd;

/// `c[0] + c[1] x + c[2] x^2 + ...`, from `x` and `x^2`. By Horner's rule in `x^2` with linear coefficients, whose chain of
/// dependent operations is half as long as that of Horner's rule in `x`.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, square: S::F32, c: [f32; N]) -> S::F32 {
    let pair = |k: usize| if k + 1 < N { s.mul_add(x, s.splat(c[k + 1]), s.splat(c[k])) } else { s.splat(c[k]) };
    let mut k = (N - 1) & !1;
    let mut sum = pair(k);
    while k > 0 {
        k -= 2;
        sum = s.mul_add(sum, square, pair(k));
    }
    sum
}

/// `ln 2` as a sum: the first part has 15 bits, so that its product with an exponent is exact.
const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];

/// `(e, 2^n)` with `exp(x) = 2^n (1 + e)` and `|e| < 0.42`, for `x` in `[-87, 0]`.
#[inline(always)]
fn reduced_expm1<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let shifted = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(S::ROUND));
    let n = s.sub(shifted, s.splat(S::ROUND));
    let r = s.neg_mul_add(n, s.splat(LN_2[0]), x);
    let r = s.neg_mul_add(n, s.splat(LN_2[1]), r);
    let square = s.mul(r, r);
    let p = polynomial(s, r, square, [0.499_999_98, 0.166_665_44, 0.041_667_2, 0.008_366_527, 0.001_388_252_1]);
    (s.mul_add(square, p, r), s.exp2_shifted(shifted))
}

/// `exp(x)` for `x` in `[-87, 0]`.
#[inline(always)]
pub fn exp_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (e, scale) = reduced_expm1(s, x);
    s.mul_add(scale, e, scale)
}

/// `exp(x) - 1` for `x` in `[-87, 0]`.
#[inline(always)]
pub fn expm1_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (e, scale) = reduced_expm1(s, x);
    s.mul_add(scale, e, s.sub(scale, s.splat(1.0)))
}

/// `exp(-a^2 / 2)` for `a` in `[0, 13]`.
#[inline(always)]
pub fn gaussian<S: Simd>(s: S, a: S::F32) -> S::F32 {
    let square = s.mul(a, a);
    let shifted = s.mul_add(square, s.splat(-0.5 * std::f32::consts::LOG2_E), s.splat(S::ROUND));
    let n = s.sub(shifted, s.splat(S::ROUND));
    // r = a^2 + 2 n ln 2, of which a fused multiply-add sees the exact square
    let r = s.mul_add(a, a, s.mul(n, s.splat(2.0 * LN_2[0])));
    let r = s.mul_add(n, s.splat(2.0 * LN_2[1]), r);
    // exp(-r / 2)
    let p = polynomial(
        s,
        r,
        s.mul(r, r),
        [1.000_000_1, -0.499_999_85, 0.124_997_236, -0.020_834_47, 0.002_619_717_6, -0.000_259_301_12],
    );
    s.mul(p, s.exp2_shifted(shifted))
}

/// `Phi(-a) exp(a^2 / 2)` for `a` in `[0, 13]`: the tail of the normal distribution, scaled.
#[inline(always)]
pub fn scaled_normal_tail<S: Simd>(s: S, a: S::F32) -> S::F32 {
    let square = s.mul(a, a);
    let p = polynomial(s, a, square, [0.499_999_82, 0.360_416_38, 0.118_640_35, 0.016_836_84]);
    let q = polynomial(s, a, square, [1.0, 1.518_699_9, 0.949_166_86, 0.297_170_55, 0.042_209_21]);
    s.div(p, q)
}
