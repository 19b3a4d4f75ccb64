//! Which algorithm computes a pass.

use super::super::Conv2dParams;
use super::winograd;
use crate::simd::Isa;

/// Channels on either side from which Winograd is faster than direct.
const MIN_WINOGRAD_CHANNELS: usize = 16;

/// An algorithm for the passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algo {
    /// Gathers the windows of a block of pixels into rows of a matrix, and multiplies it with the weight by
    /// `matrixmultiply::sgemm`. Right for every shape; the baseline that the others must beat. `sgemm` allocates its packing
    /// buffer in every call, and detects the CPU's instruction set by itself.
    Im2col,
    /// Register-tiled kernels of our own, for every shape. Allocates nothing.
    Direct,
    /// Winograd with tiles of 2x2 outputs, for 3x3 kernels of stride 1: 2.25 times fewer multiplications,
    /// as accurate as direct. Allocates nothing.
    Winograd2x3,
    /// Winograd with tiles of 4x4 outputs, for 3x3 kernels of stride 1: 4 times fewer multiplications, and
    /// rounding errors some four times those of direct. Allocates nothing.
    Winograd4x3,
}

/// One of the passes that have a choice of algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// [`forward`](super::forward)
    Forward,
    /// [`grad_input`](super::grad_input)
    GradInput,
    /// [`grad_weight`](super::grad_weight)
    GradWeight,
}

impl Algo {
    /// The algorithms, the baseline first.
    pub const ALL: [Algo; 4] = [Algo::Im2col, Algo::Direct, Algo::Winograd2x3, Algo::Winograd4x3];

    /// Whether the algorithm can compute a convolution of this shape.
    pub fn supports(self, p: &Conv2dParams) -> bool {
        match self {
            Algo::Im2col | Algo::Direct => true,
            Algo::Winograd2x3 | Algo::Winograd4x3 => winograd::supports(p),
        }
    }

    /// The algorithm that is fastest for a shape.
    pub fn choose(p: &Conv2dParams, _pass: Pass, _isa: Isa) -> Algo {
        // With fewer channels the transforms cost more than the products that they save.
        if winograd::supports(p) && p.c.min(p.k) >= MIN_WINOGRAD_CHANNELS {
            return Algo::Winograd4x3;
        }
        Algo::Direct
    }

    /// The kernel's name in tests, benchmarks and reports, such as `conv2d-direct-avx2`.
    pub fn kernel_name(self, isa: Isa) -> String {
        match self {
            // The product detects the CPU's best instruction set, whichever the rest runs with.
            Algo::Im2col => format!("conv2d-im2col-{isa}"),
            Algo::Direct => format!("conv2d-direct-{isa}"),
            Algo::Winograd2x3 => format!("conv2d-winograd2x3-{isa}"),
            Algo::Winograd4x3 => format!("conv2d-winograd4x3-{isa}"),
        }
    }
}
