//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Forward pass, input gradient and weight gradient have a choice of algorithms ([`Algo`]), a file or a folder each,
//! and `Direct` has two: that of depthwise convolutions has other loops. The bias gradient has one. The functions here
//! hand over to the algorithm. [`Pass::check`](crate::Pass::check) has asserted all lengths.
//!
//! Words that mean one thing in all of the folder:
//!
//! | word | meaning |
//! | --- | --- |
//! | group | channels that are connected with each other only, as the shape says |
//! | map | the affine function of its channels through which an operand is read |
//! | share | one of the nearly equal pieces into which work is divided among tasks |
//! | strip | what the direct algorithm computes from one copy of its input: rows of an image, or columns of them |
//! | panel | the output channels that the direct algorithm computes together for a whole strip: two vectors, or one |
//! | register block | the outputs whose sums are in registers at the same time |
//! | tile | the outputs that Winograd's algorithm computes together, 2x2 or 4x4, or the inputs that they are made of |
//! | block of tiles | the tiles that a task of Winograd's algorithm computes |
//! | part | one of the pieces of a kernel that is too large for a tile |

mod axis;
mod depthwise;
mod direct;
mod grad_bias;
mod im2col;
mod mapped;
mod operands;
mod registers;
mod tasks;
mod unreached;
mod winograd;

use super::algo::Algo;
use super::params::{Conv2dParams, Direction};
use crate::host::Cpu;
use operands::WeightGradient;

pub(super) use grad_bias::{grad_bias, workspace_len as grad_bias_workspace_len};
use operands::Convolution;
pub(in crate::ops) use operands::{Then, Touched};
pub(in crate::ops) use tasks::share;

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`
pub(super) fn convolve(cpu: &Cpu, algo: Algo, convolution: Convolution<'_>, workspace: &mut [f32]) {
    match algo {
        Algo::Im2col => im2col::convolve(cpu, convolution, workspace),
        Algo::Direct if depthwise::supports(convolution.params) => depthwise::convolve(cpu, convolution, workspace),
        Algo::Direct => direct::convolve(cpu, convolution, workspace),
        Algo::Winograd(tile) => winograd::convolve(cpu, tile, convolution, None, workspace),
    }
}

/// The blocks of [`convolve_then`], or `None` if the algorithm has none: its output is not in the cache when it is
/// complete.
pub(super) fn blocks(cpu: &Cpu, algo: Algo, p: &Conv2dParams, direction: Direction) -> Option<usize> {
    match algo {
        Algo::Winograd(tile) => Some(winograd::blocks(cpu, tile, p, direction)),
        Algo::Im2col | Algo::Direct => None,
    }
}

/// As [`convolve`], and what is done with the output, block by block.
///
/// # Panics
/// If the algorithm has no [`blocks`].
pub(super) fn convolve_then(
    cpu: &Cpu,
    algo: Algo,
    convolution: Convolution<'_>,
    then: Then<'_>,
    workspace: &mut [f32],
) {
    let Algo::Winograd(tile) = algo else { panic!("{algo} has no blocks") };
    winograd::convolve(cpu, tile, convolution, Some(then), workspace);
}

/// Scratch of [`convolve`], in elements, if the input is mapped or if not.
pub(super) fn convolve_workspace_len(
    cpu: &Cpu,
    algo: Algo,
    p: &Conv2dParams,
    direction: Direction,
    is_mapped: bool,
) -> usize {
    match algo {
        Algo::Im2col => im2col::convolve_workspace_len(cpu, p, direction, is_mapped),
        Algo::Direct if depthwise::supports(p) => depthwise::convolve_workspace_len(cpu, p, direction, is_mapped),
        Algo::Direct => direct::convolve_workspace_len(cpu, p, direction),
        Algo::Winograd(tile) => winograd::convolve_workspace_len(cpu, tile, p, direction),
    }
}

/// `dw (+)= x^T dy` for every tap
pub(super) fn grad_weight(cpu: &Cpu, algo: Algo, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
    match algo {
        Algo::Im2col => im2col::grad_weight(cpu, gradient, workspace),
        Algo::Direct if depthwise::supports(gradient.params) => depthwise::grad_weight(cpu, gradient, workspace),
        Algo::Direct => direct::grad_weight(cpu, gradient, workspace),
        Algo::Winograd(tile) => winograd::grad_weight(cpu, tile, gradient, workspace),
    }
}

/// Scratch of [`grad_weight`], in elements, if an operand is mapped or if not.
pub(super) fn grad_weight_workspace_len(cpu: &Cpu, algo: Algo, p: &Conv2dParams, is_mapped: bool) -> usize {
    match algo {
        Algo::Im2col => im2col::grad_weight_workspace_len(cpu, p, is_mapped),
        Algo::Direct if depthwise::supports(p) => depthwise::grad_weight_workspace_len(cpu, p, is_mapped),
        Algo::Direct => direct::grad_weight_workspace_len(cpu, p),
        Algo::Winograd(tile) => winograd::grad_weight_workspace_len(cpu, tile, p),
    }
}
