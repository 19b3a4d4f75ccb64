//! Losses, averaged over all `m` elements.
//!
//! ```text
//! L1    l = 1/m sum |prediction - target|        dprediction = dl sign(prediction - target) / m        (0 where equal)
//! MSE   l = 1/m sum (prediction - target)^2      dprediction = dl 2 (prediction - target) / m
//! ```
//!
//! `dl` is the gradient of the loss itself, one element: 1 where the loss is what is minimised. Aliasing: all operands are
//! disjoint. Conventions of PyTorch's `l1_loss` and `mse_loss` with `reduction="mean"`.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};
use std::fmt;

/// A loss function.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    Mse,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::L1 => "l1_loss",
            Loss::Mse => "mse_loss",
        })
    }
}

/// Operands of [`Backend::loss_forward`](crate::Backend::loss_forward).
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// What the network gives.
    pub prediction: Span,
    /// What it should give, of the same length.
    pub target: Span,
    /// The loss, one element.
    pub loss: Span,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::loss_backward`](crate::Backend::loss_backward). The gradient of the target is minus that of the
/// prediction, and is not computed.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// What the network gives.
    pub prediction: Span,
    /// What it should give, of the same length.
    pub target: Span,
    /// Gradient of the loss, one element.
    pub dloss: Span,
    /// Gradient of the prediction, set or added to.
    pub dprediction: Span,
    /// Whether `dprediction` is set or added to.
    pub write: Write,
}
