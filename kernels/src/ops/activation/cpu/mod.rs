//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Every function is written once, as a [`Function`] on vectors. NaN gives NaN. An infinity gives the function's limit
//! there, if it has one. The tests in `accuracy.rs` measure every function and derivative over inputs of every
//! magnitude.

mod function;
mod gelu;
mod piecewise;
mod smooth;

pub(crate) use function::Function;

use super::function::Activation;
use crate::host::Cpu;
use crate::loops::{Lanewise, map};
use crate::pass::Write;
use crate::simd::Simd;

/// `y = f(x)`; `x` is `None` if `y` holds it.
pub(super) fn forward(cpu: &Cpu, f: Activation, x: Option<&[f32]>, y: &mut [f32]) {
    visit(f, Forward { cpu, x, y });
}

/// `dx (+)= dy f'`; `saved` is `x` or `y`, as [`Activation::saved`] says; `dy` is `None` if `dx` holds it.
pub(super) fn backward(cpu: &Cpu, f: Activation, saved: &[f32], dy: Option<&[f32]>, dx: &mut [f32], write: Write) {
    visit(f, Backward { cpu, saved, dy, dx, write });
}

/// What is done with a function.
pub(crate) trait Visitor {
    /// Does it.
    fn visit<F: Function>(self, f: F);
}

/// Gives `visitor` the implementation of an activation. No other place knows which is which.
pub(crate) fn visit(f: Activation, visitor: impl Visitor) {
    match f {
        Activation::Gelu => visitor.visit(gelu::Gelu),
        Activation::Sigmoid => visitor.visit(smooth::Sigmoid),
        Activation::Tanh => visitor.visit(smooth::Tanh),
        Activation::Relu => visitor.visit(piecewise::Relu),
        Activation::LeakyRelu => visitor.visit(piecewise::LeakyRelu),
        Activation::Silu => visitor.visit(smooth::Silu),
        Activation::Mish => visitor.visit(smooth::Mish),
        Activation::Relu6 => visitor.visit(piecewise::Relu6),
        Activation::Hardswish => visitor.visit(piecewise::Hardswish),
        Activation::Hardsigmoid => visitor.visit(piecewise::Hardsigmoid),
        Activation::Hardtanh => visitor.visit(piecewise::Hardtanh),
        Activation::Softplus => visitor.visit(smooth::Softplus),
        Activation::LogSigmoid => visitor.visit(smooth::LogSigmoid),
        Activation::Celu => visitor.visit(smooth::Celu),
        Activation::Selu => visitor.visit(smooth::Selu),
        Activation::Softsign => visitor.visit(smooth::Softsign),
        Activation::Softshrink => visitor.visit(piecewise::Softshrink),
        Activation::Hardshrink => visitor.visit(piecewise::Hardshrink),
        Activation::Tanhshrink => visitor.visit(smooth::Tanhshrink),
    }
}

/// Operands of [`forward`].
struct Forward<'a> {
    cpu: &'a Cpu,
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    fn visit<F: Function>(self, f: F) {
        map(self.cpu, Value(f), [self.x], self.y, Write::Set);
    }
}

/// `f(x)`
#[derive(Clone, Copy)]
struct Value<F>(F);

impl<F: Function> Lanewise<1> for Value<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [x]: [S::F32; 1]) -> S::F32 {
        self.0.value(s, x)
    }
}

/// Operands of [`backward`].
struct Backward<'a> {
    cpu: &'a Cpu,
    saved: &'a [f32],
    dy: Option<&'a [f32]>,
    dx: &'a mut [f32],
    write: Write,
}

impl Visitor for Backward<'_> {
    fn visit<F: Function>(self, f: F) {
        map(self.cpu, Gradient(f), [Some(self.saved), self.dy], self.dx, self.write);
    }
}

/// `dy f'`
#[derive(Clone, Copy)]
struct Gradient<F>(F);

impl<F: Function> Lanewise<2> for Gradient<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [saved, dy]: [S::F32; 2]) -> S::F32 {
        s.mul(dy, self.0.derivative(s, saved))
    }
}
