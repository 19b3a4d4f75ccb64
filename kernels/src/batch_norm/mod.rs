//! Batch normalization over all axes but the last (channels): `x` is `m = N H W` rows of `C` values.
//!
//! ```text
//! mean[c] = 1/m sum x      var[c] = 1/m sum (x - mean)^2      rstd = 1 / sqrt(var + eps)       xhat = (x - mean) rstd
//! forward    y = gamma xhat + beta
//!            running_mean = (1 - momentum) running_mean + momentum mean
//!            running_var  = (1 - momentum) running_var  + momentum var m / (m - 1)             (unbiased, as PyTorch)
//! inference  y = gamma (x - running_mean) / sqrt(running_var + eps) + beta
//! backward   dbeta = sum dy        dgamma = sum dy xhat
//!            dx = gamma rstd (dy - dbeta / m - xhat dgamma / m)
//! ```
//!
//! In a fused layer the same is done in parts, so that no pass over memory is left of it: `moments` are taken where `x` is
//! made ([`epilogue`](crate::epilogue)), `fold` makes the affine map `y = scale x + shift` that the next convolution reads `x`
//! through ([`Affine`](crate::conv2d::Affine)), and `gradients` makes the coefficients of `dx`, which is computed where it is read:
//!
//! ```text
//! fold       scale = gamma rstd        shift = beta - scale mean
//! gradients  a = gamma rstd            b = -a rstd dgamma / m        c = -a dbeta / m
//!            dx = a dy + b (x - mean) + c
//! ```
//!
//! (`scale x + shift` rounds `scale mean`: where a mean is many times the deviation, `forward` is more precise.)
//!
//! `forward` writes `mean` and `rstd`, and `backward` takes them as operands: there is no hidden state. [`Apply`] computes
//! `y` again from them, which costs one pass over memory where keeping `y` for the backward pass would cost a tensor.
//! If `m` is 1 the unbiased variance does not exist, and the running variance is left as it is (PyTorch refuses such input).
//!
//! Aliasing: `y` may be `x` itself, and `dx` may be `dy` itself if it is set; all other operands are disjoint.
//! Source: Ioffe & Szegedy, "Batch Normalization", 2015; conventions of PyTorch's `BatchNorm2d`.

pub mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::{Span, Write};

/// Shape and constants of a batch normalization.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormParams {
    /// Values per channel, `N H W`.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Added to the variance, for stability.
    pub eps: f64,
    /// Weight of the new statistics in the running ones; 0 leaves the running ones as they are.
    pub momentum: f64,
}

/// Operands of [`Backend::batch_norm_forward`](crate::Backend::batch_norm_forward). All but `x` and `y` are `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Running mean, updated.
    pub running_mean: Span,
    /// Running variance, updated.
    pub running_var: Span,
    /// Mean of the batch, written.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub rstd: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::batch_norm_apply`](crate::Backend::batch_norm_apply).
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Mean of the batch.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch.
    pub rstd: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
}

/// Operands of [`Backend::batch_norm_inference`](crate::Backend::batch_norm_inference).
#[derive(Clone, Copy, Debug)]
pub struct Inference {
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Running mean.
    pub running_mean: Span,
    /// Running variance.
    pub running_var: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
}

/// Operands of [`Backend::batch_norm_backward`](crate::Backend::batch_norm_backward).
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Input of the forward pass `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Mean of the batch, from the forward pass.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch, from the forward pass.
    pub rstd: Span,
    /// Gradient of the output `[rows, channels]`.
    pub dy: Span,
    /// Gradient of the scale; empty if it is not wanted.
    pub dgamma: Span,
    /// Whether `dgamma` is set or added to.
    pub dgamma_write: Write,
    /// Gradient of the offset; empty if it is not wanted.
    pub dbeta: Span,
    /// Whether `dbeta` is set or added to.
    pub dbeta_write: Write,
    /// Gradient of the input `[rows, channels]`; empty if it is not wanted; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub dx_write: Write,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::batch_norm_moments`](crate::Backend::batch_norm_moments).
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// `[rows, channels]`
    pub x: Span,
    /// Mean of each channel, written.
    pub mean: Span,
    /// Variance of each channel, with divisor `rows`, written.
    pub var: Span,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::batch_norm_fold`](crate::Backend::batch_norm_fold), each `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Fold {
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Mean to normalize with: of the batch, or the running one.
    pub mean: Span,
    /// Variance to normalize with: of the batch, with divisor `rows`, or the running one.
    pub var: Span,
    /// Running mean that `mean` updates; empty if it stays as it is.
    pub running_mean: Span,
    /// Running variance that `var` updates; empty if it stays as it is.
    pub running_var: Span,
    /// `1 / sqrt(var + eps)`, written; empty if it is not wanted.
    pub rstd: Span,
    /// Factor of the map, written.
    pub scale: Span,
    /// What the map adds, written.
    pub shift: Span,
}

/// Operands of [`Backend::batch_norm_gradients`](crate::Backend::batch_norm_gradients). All but `x`, `dy` and `coefficients` are
/// `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Gradients {
    /// Input of the forward pass `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Mean of the batch.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch.
    pub rstd: Span,
    /// Gradient of the output `[rows, channels]`.
    pub dy: Span,
    /// Gradient of the scale; empty if it is not wanted.
    pub dgamma: Span,
    /// Whether `dgamma` is set or added to.
    pub dgamma_write: Write,
    /// Gradient of the offset; empty if it is not wanted.
    pub dbeta: Span,
    /// Whether `dbeta` is set or added to.
    pub dbeta_write: Write,
    /// `a`, `b` and `c` `[3, channels]`, written; empty if they are not wanted.
    pub coefficients: Span,
    /// Scratch.
    pub workspace: Span,
}

impl BatchNormParams {
    /// Asserts the length of a `[rows, channels]` operand.
    pub(crate) fn check_rows<T>(&self, x: &[T]) {
        assert_eq!(x.len(), self.rows * self.channels, "{self:?}");
    }

    /// Asserts the length of `[channels]` operands.
    pub(crate) fn check_channels<T, const N: usize>(&self, operands: [&[T]; N]) {
        assert!(operands.iter().all(|operand| operand.len() == self.channels), "{self:?}");
    }
}

impl Backward {
    /// Whether `dx` is set, as it must be if it is `dy`.
    pub(crate) fn write_is_set(&self) -> bool {
        self.dx_write == Write::Set
    }
}
