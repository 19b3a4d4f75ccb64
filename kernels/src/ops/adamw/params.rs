//! The constants of a step.

/// Constants of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWParams {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of `m`.
    pub beta1: f64,
    /// Decay of `v`.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

impl AdamWParams {
    /// `1 - beta1^t` and `1 - beta2^t`. At step `t`, `m` and `v` are too small by these factors.
    pub(super) fn bias_corrections(&self) -> (f64, f64) {
        let step = self.step as f64;
        (1.0 - self.beta1.powf(step), 1.0 - self.beta2.powf(step))
    }
}

/// What a step in f32 multiplies by, computed in f64. It has the layout of `Constants` in `adamw.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    pub(super) decay: f32,
    pub(super) new_m: f32,
    pub(super) new_v: f32,
    pub(super) rate: f32,
    pub(super) correction: f32,
    pub(super) eps: f32,
}

impl Constants {
    pub(super) fn new(p: &AdamWParams) -> Constants {
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
