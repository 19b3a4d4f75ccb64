//! Depthwise convolution: every channel is a group of its own.
//!
//! ```text
//! forward      y[p,q,c]  = bias[c] + sum_{r,s} x[p u + r - a, q v + s - b, c] w[r,s,c]
//! grad_weight  dw[r,s,c] = sum_{n,p,q} x[n, p u + r - a, q v + s - b, c] dy[n,p,q,c]
//! ```
//!
//! The channels are the lanes: what a vector of outputs needs are vectors of inputs and of weights where they are, so
//! nothing is packed, and nothing copied but what is read through a map. Forward pass and input gradient are
//! [correlations](super::axis), as they are for [`direct`](super::direct). Every output multiplies only those taps that
//! are inside the image: its row of the kernel is cut for a whole row of outputs ([`correlate`]), and its columns for
//! each of the outputs at either end. Those between are [blocks](blocks) in registers. The weight gradient keeps the
//! sums of a row of taps in registers, over the pixels that meet all of them ([`grad_weight()`]).
//!
//! A product costs a load, so two of them a cycle are the most, and half of the peak of fused multiply-adds in L1. 3x3
//! of few channels wait for memory: they read and write 8 bytes for 18 operations.

mod blocks;
mod correlate;
mod grad_weight;
mod rows;

use crate::ops::conv2d::params::Conv2dParams;

pub(super) use correlate::{convolve, convolve_workspace_len};
pub(super) use grad_weight::{grad_weight, grad_weight_workspace_len};

/// Whether a shape is depthwise: several groups of one channel to one.
pub(super) fn supports(p: &Conv2dParams) -> bool {
    p.groups > 1 && [p.c, p.k] == [p.groups; 2]
}
