//! [`AdamW`]: constants of the optimizer.

use crate::{Error, Result};

/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), as in PyTorch: [`kernels::adamw`] has
/// the equations. [`Session::adamw`](crate::Session::adamw) takes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment (mean of gradients), per step.
    pub beta1: f64,
    /// Decay of the second moment (mean of squared gradients), per step.
    pub beta2: f64,
    /// Added to the denominator, for stability; above 0.
    pub eps: f64,
    /// Share of a parameter that is subtracted per step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}

impl AdamW {
    /// # Errors
    /// If a constant, or the learning rate, is out of its range: parameters would become NaN.
    pub(crate) fn check(&self, lr: f64) -> Result<()> {
        let AdamW { beta1, beta2, eps, weight_decay } = *self;
        let share = |x: f64| (0.0..1.0).contains(&x);
        let amount = |x: f64| x >= 0.0 && x.is_finite();
        for (argument, value, is_right, expected) in [
            ("lr", lr, amount(lr), "at least 0 and finite"),
            ("beta1", beta1, share(beta1), "at least 0 and below 1"),
            ("beta2", beta2, share(beta2), "at least 0 and below 1"),
            // Otherwise a parameter without gradient would change by 0 / 0.
            ("eps", eps, eps as f32 > 0.0 && amount(eps), "above 0 in 32 bits, and finite"),
            ("weight_decay", weight_decay, amount(weight_decay), "at least 0 and finite"),
        ] {
            if !is_right {
                return Err(Error::Optimizer { argument, value, expected });
            }
        }
        Ok(())
    }
}
