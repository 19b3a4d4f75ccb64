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
//!
//! Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; the saved operand is disjoint from outputs.
//! Sources: Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016; Misra, "Mish", 2019; slopes and kinks as in PyTorch.

pub mod cpu;
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
}

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
    pub const ALL: [Activation; 7] = [
        Activation::Gelu,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Silu,
        Activation::Mish,
    ];

    /// Whether the backward pass reads `x` or `y`.
    pub fn saved(self) -> Saved {
        match self {
            Activation::Sigmoid | Activation::Tanh | Activation::Relu => Saved::Output,
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
