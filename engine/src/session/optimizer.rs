//! [`AdamW`]: constants of the optimizer.

/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), as in PyTorch: [`kernels::adamw`] has
/// the equations. [`Session::adamw`](crate::Session::adamw) takes a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment (mean of gradients), per step.
    pub beta1: f64,
    /// Decay of the second moment (mean of squared gradients), per step.
    pub beta2: f64,
    /// Added to the denominator, for stability.
    pub eps: f64,
    /// Share of a parameter that is subtracted per step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 }
    }
}
