//! SIMD implementation of the [module documentation](super)'s equations.

use super::Activation;
use crate::loops::{Lanewise, map};
use crate::simd::{Simd, math};
use crate::{Cpu, Write};

/// `y = f(x)`; `x` is `None` if `y` holds it.
pub fn forward(cpu: &Cpu, f: Activation, x: Option<&[f32]>, y: &mut [f32]) {
    match f {
        Activation::Gelu => map(cpu, Value(Gelu), [x], y, Write::Set),
        Activation::Sigmoid => map(cpu, Value(Sigmoid), [x], y, Write::Set),
        Activation::Tanh => map(cpu, Value(Tanh), [x], y, Write::Set),
        Activation::Relu => map(cpu, Value(Relu), [x], y, Write::Set),
        Activation::LeakyRelu => map(cpu, Value(LeakyRelu), [x], y, Write::Set),
        Activation::Silu => map(cpu, Value(Silu), [x], y, Write::Set),
        Activation::Mish => map(cpu, Value(Mish), [x], y, Write::Set),
    }
}

/// `dx (+)= dy f'`; `saved` is `x` or `y`, as [`Activation::saved`] says; `dy` is `None` if `dx` holds it.
pub fn backward(cpu: &Cpu, f: Activation, saved: &[f32], dy: Option<&[f32]>, dx: &mut [f32], write: Write) {
    let saved = Some(saved);
    match f {
        Activation::Gelu => map(cpu, Gradient(Gelu), [saved, dy], dx, write),
        Activation::Sigmoid => map(cpu, Gradient(Sigmoid), [saved, dy], dx, write),
        Activation::Tanh => map(cpu, Gradient(Tanh), [saved, dy], dx, write),
        Activation::Relu => map(cpu, Gradient(Relu), [saved, dy], dx, write),
        Activation::LeakyRelu => map(cpu, Gradient(LeakyRelu), [saved, dy], dx, write),
        Activation::Silu => map(cpu, Gradient(Silu), [saved, dy], dx, write),
        Activation::Mish => map(cpu, Gradient(Mish), [saved, dy], dx, write),
    }
}

/// An activation and its derivative. Methods must be `#[inline(always)]`.
trait Function: Copy + Send + Sync {
    /// `f(x)`
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32;
    /// `f'(x)`, from `x` or `f(x)`.
    fn derivative<S: Simd>(self, s: S, saved: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Value<F>(F);

impl<F: Function> Lanewise<1> for Value<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [x]: [S::F32; 1]) -> S::F32 {
        self.0.value(s, x)
    }
}

#[derive(Clone, Copy)]
struct Gradient<F>(F);

impl<F: Function> Lanewise<2> for Gradient<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [saved, dy]: [S::F32; 2]) -> S::F32 {
        s.mul(dy, self.0.derivative(s, saved))
    }
}

/// `min(|x|, limit)`, and NaN where `x` is.
#[inline(always)]
fn magnitude<S: Simd>(s: S, x: S::F32, limit: f32) -> S::F32 {
    s.min(s.splat(limit), s.abs(x))
}

/// `1 / sqrt(2 pi)`
const DENSITY_AT_0: f32 = 0.398_942_3;

#[derive(Clone, Copy)]
struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, 12.9);
        let tail = s.mul(math::gaussian(s, a), math::scaled_normal_tail(s, a));
        s.neg_mul_add(a, tail, s.max(s.splat(0.0), x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, 12.9);
        // f'(-a) = Phi(-a) - a phi(a), f'(a) = 1 - f'(-a)
        let difference = s.neg_mul_add(a, s.splat(DENSITY_AT_0), math::scaled_normal_tail(s, a));
        let negative = s.mul(math::gaussian(s, a), difference);
        s.select(s.less(x, s.splat(0.0)), negative, s.sub(s.splat(1.0), negative))
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let u = math::exp_nonpositive(s, s.neg(magnitude(s, x, 87.0)));
        let one = s.splat(1.0);
        s.div(s.select(s.less(x, s.splat(0.0)), u, one), s.add(one, u))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        s.neg_mul_add(y, y, y)
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl Function for Tanh {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let e = math::expm1_nonpositive(s, s.mul(s.splat(-2.0), magnitude(s, x, 20.0)));
        let t = s.div(s.neg(e), s.add(s.splat(2.0), e));
        s.select(s.less(x, s.splat(0.0)), s.neg(t), t)
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, y: S::F32) -> S::F32 {
        s.neg_mul_add(y, y, s.splat(1.0))
    }
}

#[derive(Clone, Copy)]
struct Relu;

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

#[derive(Clone, Copy)]
struct LeakyRelu;

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

#[derive(Clone, Copy)]
struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // x sigmoid(x) = max(x, 0) - |x| sigmoid(-|x|)
        let a = magnitude(s, x, 87.0);
        let u = math::exp_nonpositive(s, s.neg(a));
        let tail = s.div(u, s.add(s.splat(1.0), u));
        s.neg_mul_add(a, tail, s.max(s.splat(0.0), x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // f'(-a) = sigmoid(-a) (1 - a sigmoid(a)) = u (1 + u - a) / (1 + u)^2, f'(a) = 1 - f'(-a)
        let a = magnitude(s, x, 87.0);
        let u = math::exp_nonpositive(s, s.neg(a));
        let one = s.splat(1.0);
        let v = s.add(one, u);
        let negative = s.div(s.mul(u, s.sub(v, a)), s.mul(v, v));
        s.select(s.less(x, s.splat(0.0)), negative, s.sub(one, negative))
    }
}

#[derive(Clone, Copy)]
struct Mish;

impl Function for Mish {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // with u = exp(-|x|): tanh(ln(1 + exp x)) = (u^2 + 2u) / (u^2 + 2u + 2) for x < 0, and 1 - 2u^2 / (2u^2 + 2u + 1)
        let a = magnitude(s, x, 87.0);
        let u = math::exp_nonpositive(s, s.neg(a));
        let (square, double) = (s.mul(u, u), s.add(u, u));
        let negative = s.less(x, s.splat(0.0));
        let numerator = s.add(square, s.select(negative, double, square));
        let rest = s.select(negative, s.splat(2.0), s.add(double, s.splat(1.0)));
        let k = s.div(numerator, s.add(numerator, rest));
        s.neg_mul_add(a, k, s.max(s.splat(0.0), x))
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        // t = tanh(softplus x) = n / d; (1 - t^2) sigmoid(x) = 4 w / d^2 with, for u = exp(-|x|),
        // x < 0:  n = u^2 + 2u, d = n + 2,      w = u (1 + u)
        // else    n = 1 + 2u,   d = n + 2 u^2,  w = u^2 (1 + u)
        let a = magnitude(s, x, 87.0);
        let u = math::exp_nonpositive(s, s.neg(a));
        let (one, two) = (s.splat(1.0), s.splat(2.0));
        let (square, double) = (s.mul(u, u), s.add(u, u));
        let negative = s.less(x, s.splat(0.0));
        let n = s.add(double, s.select(negative, square, one));
        let d = s.mul_add(two, s.select(negative, one, square), n);
        let w = s.mul(s.select(negative, u, square), s.add(one, u));
        let ax = s.select(negative, s.neg(a), a);
        let numerator = s.mul_add(n, d, s.mul(s.mul(s.splat(4.0), ax), w));
        s.div(numerator, s.mul(d, d))
    }
}
