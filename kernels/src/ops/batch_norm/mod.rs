//! Batch normalization over all axes but the last, the channels: `x` is `[rows, channels]`, with `m = N H W` rows.
//!
//! ```text
//! mean[c] = 1/m sum x      var[c] = 1/m sum (x - mean)^2      rstd = 1 / sqrt(var + eps)       xhat = (x - mean) rstd
//!
//! Forward     y = gamma xhat + beta
//!             running_mean = (1 - momentum) running_mean + momentum mean
//!             running_var  = (1 - momentum) running_var  + momentum var m / (m - 1)            (unbiased, as PyTorch)
//! Apply       y = gamma xhat + beta, with mean and rstd as they were
//! Inference   y = gamma (x - running_mean) / sqrt(running_var + eps) + beta
//! Backward    dbeta = sum dy        dgamma = sum dy xhat
//!             dx = gamma rstd (dy - dbeta / m - xhat dgamma / m)
//! ```
//!
//! `mean` and `var` are the batch statistics. [`Forward`] writes `mean` and `rstd`, and [`Backward`] reads them: there
//! is no hidden state. [`Apply`] computes `y` once more. It costs one pass over memory; keeping `y` for the backward
//! pass would cost a tensor. One row has no unbiased variance, so with `m = 1` the running variance stays as it is.
//! (PyTorch refuses such input.)
//!
//! A fused layer writes neither `y` nor `dx` to memory. It computes the same in three parts:
//!
//! ```text
//! BatchStats  mean and var
//! Fold        scale = gamma rstd        shift = beta - scale mean        and the running statistics, as Forward
//! Gradients   dbeta and dgamma, as Backward
//!             a = gamma rstd            b = -a rstd dgamma / m        c = -a dbeta / m
//! ```
//!
//! The batch statistics come from [`BatchStats`], or from the pass that writes `x` ([`epilogue`](crate::epilogue)). The
//! next convolution reads `x` through the map `y = scale x + shift` ([`Affine`](crate::conv2d::Affine)). Whatever reads
//! the gradient of `x` computes it as `dx = a dy + b (x - mean) + c`. The map rounds `scale mean`: where a mean is many
//! times the deviation, [`Forward`] is more precise.
//!
//! [`norm_act`](crate::norm_act) computes a normalization and the activation after it as one pass.
//!
//! Aliasing: `y` may be `x` itself. `dx` may be `dy` itself if it is set. All other operands are disjoint.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `forward.rs` | the passes [`Forward`], [`Apply`] and [`Inference`] |
//! | `backward.rs` | the pass [`Backward`] |
//! | `fused.rs` | the passes of fused layers: [`BatchStats`], [`Fold`] and [`Gradients`] |
//! | `reference.rs` | the oracle |
//! | `cpu/` | `batch_stats.rs`: mean and variance; `forward.rs`: `y`, and the map; `backward.rs`: all gradients |
//! | `cuda/` | kernels, and their launchers |
//! | `tests.rs` | the tests of all passes |
//!
//! Source: Ioffe & Szegedy, "Batch Normalization", 2015; conventions of PyTorch's `BatchNorm2d`.

mod backward;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod forward;
mod fused;
mod params;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use backward::Backward;
pub use forward::{Apply, Forward, Inference};
pub use fused::{BatchStats, Fold, Gradients};
pub use params::BatchNormParams;
