//! Element-wise activation functions: `y = f(x)`, `dx = dy f'(x)`.
//!
//! | function | f(x) | backward reads |
//! | --- | --- | --- |
//! | GELU (exact) | `x Phi(x)`, `Phi(x) = (1 + erf(x / sqrt 2)) / 2` | x |
//! | sigmoid | `1 / (1 + exp(-x))`; `f' = y (1 - y)` | y |
//! | tanh | `f' = 1 - y^2` | y |
//! | ReLU | `max(x, 0)`; `f'(0) = 0` | y |
//! | leaky ReLU | `x` if `x > 0`, else `x / 100` | x |
//! | SiLU | `x sigmoid(x)` | x |
//! | Mish | `x tanh(ln(1 + exp x))` | x |
//! | ReLU6 | `min(max(x, 0), 6)`; `f'(0) = f'(6) = 0` | y |
//! | hard swish | `x min(max(x + 3, 0), 6) / 6`; `f'(-3) = 0`, `f'(3) = 1` | x |
//! | hard sigmoid | `min(max(x + 3, 0), 6) / 6`; `f'(-3) = f'(3) = 0` | x |
//! | hard tanh | `min(max(x, -1), 1)`; `f'(-1) = f'(1) = 0` | y |
//! | softplus | `ln(1 + exp x)`; `f' = sigmoid(x)` | x |
//! | log sigmoid | `-ln(1 + exp(-x))`; `f' = sigmoid(-x)` | x |
//! | CELU | `max(x, 0) + min(exp(x) - 1, 0)` | x |
//! | SELU | `1.0507... (max(x, 0) + 1.6732... min(exp(x) - 1, 0))`; left slope at 0 | x |
//! | softsign | `x / (1 + |x|)` | x |
//! | soft shrink | `x - min(max(x, -1/2), 1/2)`; `f' = 0` at the kinks | y |
//! | hard shrink | `x` if `|x| > 1/2`, else 0 | y |
//! | tanh shrink | `x - tanh(x)`; `f' = tanh(x)^2` | x |
//!
//! Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; the saved operand is disjoint from outputs.
//! Sources: Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016; Misra, "Mish", 2019; Klambauer et al., "Self-Normalizing
//! Neural Networks", 2017 (SELU); parameters, slopes and kinks as in PyTorch.

#[cfg(test)]
mod accuracy;
pub mod cpu;
#[cfg(test)]
mod pytorch;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};
use std::fmt;

/// An element-wise function. The defaults of parameters are PyTorch's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Gaussian error linear unit, exact.
    Gelu,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Rectifier.
    Relu,
    /// Rectifier with slope 0.01 below 0.
    LeakyRelu,
    /// Sigmoid linear unit.
    Silu,
    /// Mish.
    Mish,
    /// Rectifier cut off at 6.
    Relu6,
    /// Piecewise quadratic form of SiLU.
    Hardswish,
    /// Piecewise linear form of the logistic function.
    Hardsigmoid,
    /// Piecewise linear form of the hyperbolic tangent.
    Hardtanh,
    /// Smooth rectifier.
    Softplus,
    /// Logarithm of the logistic function.
    LogSigmoid,
    /// Continuously differentiable exponential linear unit, with alpha 1: the same as ELU then.
    Celu,
    /// Scaled exponential linear unit.
    Selu,
    /// Softsign.
    Softsign,
    /// Shrinkage towards 0 by 1/2.
    Softshrink,
    /// Values up to 1/2 set to 0.
    Hardshrink,
    /// What tanh takes away.
    Tanhshrink,
}

/// Factor of [`Activation::Selu`].
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// Limit of [`Activation::Selu`] at minus infinity, before the factor, but for the sign.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

/// What the backward pass of an activation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Its input `x`.
    Input,
    /// Its output `y`.
    Output,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 19] = [
        Activation::Gelu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Silu,
        Activation::Mish,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Hardsigmoid,
        Activation::Hardtanh,
        Activation::Softplus,
        Activation::LogSigmoid,
        Activation::Celu,
        Activation::Selu,
        Activation::Softsign,
        Activation::Softshrink,
        Activation::Hardshrink,
        Activation::Tanhshrink,
    ];

    /// Whether the backward pass reads `x` or `y`.
    pub fn saved(self) -> Saved {
        match self {
            Activation::Sigmoid
            | Activation::Tanh
            | Activation::Relu
            | Activation::Relu6
            | Activation::Hardtanh
            | Activation::Softshrink
            | Activation::Hardshrink => Saved::Output,
            _ => Saved::Input,
        }
    }
}

/// The name in lower case, as in configuration files: `gelu`, `leaky_relu`.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Gelu => "gelu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::LeakyRelu => "leaky_relu",
            Activation::Silu => "silu",
            Activation::Mish => "mish",
            Activation::Relu6 => "relu6",
            Activation::Hardswish => "hardswish",
            Activation::Hardsigmoid => "hardsigmoid",
            Activation::Hardtanh => "hardtanh",
            Activation::Softplus => "softplus",
            Activation::LogSigmoid => "log_sigmoid",
            Activation::Celu => "celu",
            Activation::Selu => "selu",
            Activation::Softsign => "softsign",
            Activation::Softshrink => "softshrink",
            Activation::Hardshrink => "hardshrink",
            Activation::Tanhshrink => "tanhshrink",
        })
    }
}

/// The name is not that of an activation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown activation `{0}`: expected one of {names}", names = Activation::ALL.map(|a| a.to_string()).join(", "))]
pub struct UnknownActivation(String);

impl std::str::FromStr for Activation {
    type Err = UnknownActivation;
    fn from_str(name: &str) -> Result<Activation, UnknownActivation> {
        let found = Activation::ALL.into_iter().find(|a| a.to_string() == name);
        found.ok_or_else(|| UnknownActivation(name.to_owned()))
    }
}

/// Operands of [`Backend::activation_forward`](crate::Backend::activation_forward), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input.
    pub x: Span,
    /// Output; may be `x`.
    pub y: Span,
}

/// Operands of [`Backend::activation_backward`](crate::Backend::activation_backward), of equal length.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// `x` or `y` of the forward pass, as [`Activation::saved`] says.
    pub saved: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}
