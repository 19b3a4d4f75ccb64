//! One step of AdamW over flat arrays of parameters. At step `t` (the first is 1):
//!
//! ```text
//! param -= lr weight_decay param
//! m = beta1 m + (1 - beta1) grad          v = beta2 v + (1 - beta2) grad^2
//! param -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
//! ```
//!
//! Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, in the order of PyTorch's `AdamW`.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::Span;

/// Constants of one step.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWParams {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

impl AdamWParams {
    /// `1 - beta1^t` and `1 - beta2^t`, by which the moments are too small at step `t`.
    pub fn bias_corrections(&self) -> (f64, f64) {
        let step = self.step as f64;
        (1.0 - self.beta1.powf(step), 1.0 - self.beta2.powf(step))
    }
}

/// What a step in f32 multiplies with, computed in f64.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    decay: f32,
    new_m: f32,
    new_v: f32,
    rate: f32,
    correction: f32,
    eps: f32,
}

impl Constants {
    pub(crate) fn new(p: &AdamWParams) -> Constants {
        let (correction1, correction2) = p.bias_corrections();
        Constants {
            decay: (1.0 - p.lr * p.weight_decay) as f32,
            new_m: (1.0 - p.beta1) as f32,
            new_v: (1.0 - p.beta2) as f32,
            rate: (p.lr / correction1) as f32,
            correction: (1.0 / correction2.sqrt()) as f32,
            eps: p.eps as f32,
        }
    }
}

/// Operands of [`Backend::adamw`](crate::Backend::adamw), of equal length but for the flag.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Parameters, updated.
    pub param: Span,
    /// Their gradients.
    pub grad: Span,
    /// First moments, updated.
    pub m: Span,
    /// Second moments, updated.
    pub v: Span,
    /// A [flag](crate::finite) that leaves all as it is if it is up; may be absent.
    pub unless: Span,
}
