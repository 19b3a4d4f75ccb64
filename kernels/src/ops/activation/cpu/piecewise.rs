//! Functions that are polynomials between kinks.

use super::function::Function;
use crate::simd::Simd;

/// `max(low, min(high, x))`, and NaN where `x` is.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F32, low: f32, high: f32) -> S::F32 {
    s.max(s.splat(low), s.min(s.splat(high), x))
}

/// `value` where `low < x < high`, else 0.
#[inline(always)]
fn between<S: Simd>(s: S, x: S::F32, low: f32, high: f32, value: f32) -> S::F32 {
    let below = s.select(s.less(x, s.splat(high)), s.splat(value), s.splat(0.0));
    s.select(s.less(s.splat(low), x), below, s.splat(0.0))
}

/// `max(x, 0)`
#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.max(s.splat(0.0), x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        s.select(s.less(s.splat(0.0), y), s.splat(1.0), s.splat(0.0))
    }
}

/// `max(x, x / 100)`
#[derive(Clone, Copy)]
pub(super) struct LeakyRelu;

impl Function for LeakyRelu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.max(s.mul(s.splat(0.01), x), x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.select(s.less(s.splat(0.0), x), s.splat(1.0), s.splat(0.01))
    }
}

/// `min(max(x, 0), 6)`
#[derive(Clone, Copy)]
pub(super) struct Relu6;

impl Function for Relu6 {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        clamp(s, x, 0.0, 6.0)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        between(s, y, 0.0, 6.0, 1.0)
    }
}

/// `x min(max(x + 3, 0), 6) / 6`
#[derive(Clone, Copy)]
pub(super) struct Hardswish;

impl Function for Hardswish {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let gate = s.mul(clamp(s, s.add(x, s.splat(3.0)), 0.0, 6.0), s.splat(1.0 / 6.0));
        // Minus infinity times 0 would be NaN; the gate is 0 from -3 down.
        s.mul(s.max(s.splat(-3.0), x), gate)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let inside = s.mul_add(x, s.splat(1.0 / 3.0), s.splat(0.5));
        let below = s.select(s.less(s.splat(-3.0), x), inside, s.splat(0.0));
        s.select(s.less(x, s.splat(3.0)), below, s.splat(1.0))
    }
}

/// `min(max(x + 3, 0), 6) / 6`
#[derive(Clone, Copy)]
pub(super) struct Hardsigmoid;

impl Function for Hardsigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.mul(clamp(s, s.add(x, s.splat(3.0)), 0.0, 6.0), s.splat(1.0 / 6.0))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        between(s, x, -3.0, 3.0, 1.0 / 6.0)
    }
}

/// `min(max(x, -1), 1)`
#[derive(Clone, Copy)]
pub(super) struct Hardtanh;

impl Function for Hardtanh {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        clamp(s, x, -1.0, 1.0)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        between(s, y, -1.0, 1.0, 1.0)
    }
}

/// `x - min(max(x, -1/2), 1/2)`
#[derive(Clone, Copy)]
pub(super) struct Softshrink;

/// 1 where `y` is not 0, else 0.
#[inline(always)]
fn is_not_0<S: Simd>(s: S, y: S::F32) -> S::F32 {
    s.select(s.less(s.splat(0.0), s.abs(y)), s.splat(1.0), s.splat(0.0))
}

impl Function for Softshrink {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        s.sub(x, clamp(s, x, -0.5, 0.5))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        is_not_0(s, y)
    }
}

/// `x` if `|x| > 1/2`, else 0.
#[derive(Clone, Copy)]
pub(super) struct Hardshrink;

impl Function for Hardshrink {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // What is less than the next number above 1/2 is at most 1/2. NaN is not less, and stays.
        s.select(s.less(s.abs(x), s.splat(0.5f32.next_up())), s.splat(0.0), x)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        is_not_0(s, y)
    }
}
