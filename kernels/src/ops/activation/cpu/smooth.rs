//! Functions of exponentials.
//!
//! Every one is computed from `a = |x|` and exponentials of `-a`, which do not overflow, in a form that never subtracts
//! close values. `a` is cut off where what it still changes is below 3e-36, so results are off by no more than that.
//! The cut also keeps infinity from being multiplied by 0.

use super::super::function::{SELU_ALPHA, SELU_SCALE};
use super::function::Function;
use crate::simd::{Simd, math};

/// `min(|x|, limit)`, and NaN where `x` is.
#[inline(always)]
pub(super) fn magnitude<S: Simd>(s: S, x: S::F32, limit: f32) -> S::F32 {
    s.min(s.splat(limit), s.abs(x))
}

/// `max(x, 0)`, and NaN where `x` is.
#[inline(always)]
pub(super) fn positive_part<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.max(s.splat(0.0), x)
}

/// `min(x, 0)` where that is above -87, and NaN where `x` is.
#[inline(always)]
fn negative_part<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.max(s.splat(-EXP_LIMIT), s.min(s.splat(0.0), x))
}

/// Whether `x < 0`.
#[inline(always)]
fn is_negative<S: Simd>(s: S, x: S::F32) -> S::Mask {
    s.less(x, s.splat(0.0))
}

/// `exp(-87)` is about 1.6e-38, near the smallest normal number.
const EXP_LIMIT: f32 = 87.0;

/// `f(-a) = u / (1 + u)` and `f(a) = 1 / (1 + u)` with `u = exp(-a)`.
#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

/// `sigmoid(x)`
#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let u = math::exp_nonpositive(s, s.neg(magnitude(s, x, EXP_LIMIT)));
    let one = s.splat(1.0);
    s.div(s.select(is_negative(s, x), u, one), s.add(one, u))
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        sigmoid(s, x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        s.mul(y, s.sub(s.splat(1.0), y))
    }
}

/// `f(a) = -e / (2 + e)` with `e = exp(-2 a) - 1`.
#[derive(Clone, Copy)]
pub(super) struct Tanh;

/// `tanh(|x|)`
#[inline(always)]
fn tanh_magnitude<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // In f32, tanh(20) is 1.
    let e = math::expm1_nonpositive(s, s.mul(s.splat(-2.0), magnitude(s, x, 20.0)));
    s.div(s.neg(e), s.add(s.splat(2.0), e))
}

impl Function for Tanh {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.copy_sign(tanh_magnitude(s, x), x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        let one = s.splat(1.0);
        s.mul(s.sub(one, y), s.add(one, y))
    }
}

/// `f(x) = max(x, 0) - a sigmoid(-a)`
#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, EXP_LIMIT);
        let u = math::exp_nonpositive(s, s.neg(a));
        s.neg_mul_add(a, s.div(u, s.add(s.splat(1.0), u)), positive_part(s, x))
    }

    /// `f'(-a) = sigmoid(-a) (1 - a sigmoid(a)) = u (1 + u - a) / (1 + u)^2` and `f'(a) = 1 - f'(-a)`
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, EXP_LIMIT);
        let u = math::exp_nonpositive(s, s.neg(a));
        let one = s.splat(1.0);
        let v = s.add(one, u);
        let negative = s.div(s.mul(u, s.sub(v, a)), s.mul(v, v));
        s.select(is_negative(s, x), negative, s.sub(one, negative))
    }
}

/// With `u = exp(-a)`, `tanh(ln(1 + exp x)) = (u^2 + 2 u) / (u^2 + 2 u + 2)` for `x < 0`, else
/// `1 - 2 u^2 / (2 u^2 + 2 u + 1)`; so `f(x) = max(x, 0) - a k` with the fraction `k`.
#[derive(Clone, Copy)]
pub(super) struct Mish;

impl Function for Mish {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, EXP_LIMIT);
        let u = math::exp_nonpositive(s, s.neg(a));
        let (square, double) = (s.mul(u, u), s.add(u, u));
        let negative = is_negative(s, x);
        let numerator = s.add(square, s.select(negative, double, square));
        let rest = s.select(negative, s.splat(2.0), s.add(double, s.splat(1.0)));
        let k = s.div(numerator, s.add(numerator, rest));
        s.neg_mul_add(a, k, positive_part(s, x))
    }

    /// `f' = t + x (1 - t^2) sigmoid(x)` with `t = tanh(softplus x) = n / d` and `(1 - t^2) sigmoid(x) = 4 w / d^2`:
    ///
    /// ```text
    /// x < 0   n = u^2 + 2 u    d = n + 2        w = u (1 + u)
    /// else    n = 1 + 2 u      d = n + 2 u^2    w = u^2 (1 + u)
    /// ```
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, EXP_LIMIT);
        let u = math::exp_nonpositive(s, s.neg(a));
        let (one, two) = (s.splat(1.0), s.splat(2.0));
        let (square, double) = (s.mul(u, u), s.add(u, u));
        let negative = is_negative(s, x);
        let n = s.add(double, s.select(negative, square, one));
        let d = s.mul_add(two, s.select(negative, one, square), n);
        let w = s.mul(s.select(negative, u, square), s.add(one, u));
        let slope = s.mul(s.mul(s.splat(4.0), s.copy_sign(a, x)), w);
        s.div(s.mul_add(n, d, slope), s.mul(d, d))
    }
}

/// `f(x) = max(x, 0) + ln(1 + exp(-a))`. PyTorch's is `x` above 20, which is the same in f32.
#[derive(Clone, Copy)]
pub(super) struct Softplus;

/// `ln(1 + exp(-|x|))`
#[inline(always)]
fn softplus_rest<S: Simd>(s: S, x: S::F32) -> S::F32 {
    math::log1p_unit(s, math::exp_nonpositive(s, s.neg(magnitude(s, x, EXP_LIMIT))))
}

impl Function for Softplus {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.add(positive_part(s, x), softplus_rest(s, x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        sigmoid(s, x)
    }
}

/// `f(x) = min(x, 0) - ln(1 + exp(-a))`
#[derive(Clone, Copy)]
pub(super) struct LogSigmoid;

impl Function for LogSigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.sub(s.min(s.splat(0.0), x), softplus_rest(s, x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        sigmoid(s, s.neg(x))
    }
}

/// `f(x) = max(x, 0) + (exp(min(x, 0)) - 1)`
#[derive(Clone, Copy)]
pub(super) struct Celu;

impl Function for Celu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.add(positive_part(s, x), math::expm1_nonpositive(s, negative_part(s, x)))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        math::exp_nonpositive(s, negative_part(s, x))
    }
}

/// `f(x) = scale (max(x, 0) + alpha (exp(min(x, 0)) - 1))`
#[derive(Clone, Copy)]
pub(super) struct Selu;

/// Slope above 0.
const SELU_ABOVE: f32 = SELU_SCALE as f32;

/// Slope just below 0.
const SELU_BELOW: f32 = (SELU_SCALE * SELU_ALPHA) as f32;

impl Function for Selu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let negative = s.mul(s.splat(SELU_BELOW), math::expm1_nonpositive(s, negative_part(s, x)));
        s.mul_add(s.splat(SELU_ABOVE), positive_part(s, x), negative)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let negative = s.mul(s.splat(SELU_BELOW), math::exp_nonpositive(s, negative_part(s, x)));
        s.select(s.less(s.splat(0.0), x), s.splat(SELU_ABOVE), negative)
    }
}

/// `f(x) = x / (1 + a)`
#[derive(Clone, Copy)]
pub(super) struct Softsign;

impl Function for Softsign {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, f32::MAX);
        s.copy_sign(s.div(a, s.add(s.splat(1.0), a)), x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let r = s.div(s.splat(1.0), s.add(s.splat(1.0), s.abs(x)));
        s.mul(r, r)
    }
}

/// `f(x) = x - tanh(x)`, near 0 by a polynomial, as both are close to each other there.
#[derive(Clone, Copy)]
pub(super) struct Tanhshrink;

impl Function for Tanhshrink {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let far = s.sub(x, s.copy_sign(tanh_magnitude(s, x), x));
        let near = math::tanhshrink_near_0(s, x);
        s.select(s.less(s.abs(x), s.splat(math::TANHSHRINK_NEAR)), near, far)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let t = tanh_magnitude(s, x);
        s.mul(t, t)
    }
}
