//! Direct convolution: no matrix of patches, no product with an inserted zero; every shape.
//!
//! Forward pass and input gradient are both *correlations* ([`correlate`]). The input gradient of stride 1 is that of
//! `dy` with the reversed and transposed weight; of stride `(u, v)` it is up to `u v` of them, one for each phase of
//! the output pixels ([`axis`](super::axis)). The weight gradient is a sum of outer products over pixels
//! ([`grad_weight()`]).
//!
//! All of them work on a *strip* of output rows at a time (and of columns, if the image is very wide). Its input is
//! copied into the thread's scratch with the zeros of the padding around it, one group's channels only, unless it can
//! be read where it is. An operand with an affine map is mapped in this copy. The copy keeps bounds checks out of the
//! loops, and makes the taps of a row contiguous for groups too. It costs some 5 % of a 3x3 layer of 32 channels. Most
//! of that is waiting for memory, which the products would otherwise do instead.
//!
//! Rows of taps that are outside the image are left out, and so are columns of taps if most of them are: the time
//! follows the image, not the kernel. Outputs that no tap reaches are [set](super::unreached) before all others.
//!
//! The files, from the top down: [`correlate`] and [`grad_weight`](mod@grad_weight) cut a pass into tasks, with what
//! they have in common in [`plan`], [`axis`](super::axis) and [`strip`]; [`register_block`] and [`outer`] are their
//! inner loops, with what these have in common in [`registers`](super::registers); [`pack`] puts the weight into the
//! order in which the first reads it.
//!
//! Measured with operands in the cache, 3x3, 32 to 32 channels at 32x32, as a fraction of the peak of fused
//! multiply-adds: forward and input gradient 0.90 with AVX2 and 0.93 with AVX-512, weight gradient 0.85 and 0.89.

mod correlate;
mod grad_weight;
mod outer;
mod pack;
mod plan;
mod register_block;
mod strip;

pub(super) use correlate::{convolve, convolve_workspace_len};
pub(super) use grad_weight::{grad_weight, grad_weight_workspace_len};
