//! Which algorithm computes a pass.

use super::super::Conv2dParams;
use crate::simd::Isa;

/// An algorithm for the passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algo {
    /// Gathers the windows of a block of pixels into rows of a matrix, and multiplies it with the weight by
    /// `matrixmultiply::sgemm`. Right for every shape; the baseline that the others must beat. `sgemm` allocates its packing
    /// buffer in every call, and detects the CPU's instruction set by itself.
    Im2col,
    /// Register-tiled kernels of our own, for every shape. Allocates nothing.
    Direct,
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
    pub const ALL: [Algo; 2] = [Algo::Im2col, Algo::Direct];

    /// The algorithm that is fastest for a shape.
    pub fn choose(_p: &Conv2dParams, _pass: Pass, _isa: Isa) -> Algo {
        Algo::Direct
    }

    /// The kernel's name in tests, benchmarks and reports, such as `conv2d-direct-avx2`.
    pub fn kernel_name(self, isa: Isa) -> String {
        match self {
            // The product detects the CPU's best instruction set, whichever the rest runs with.
            Algo::Im2col => format!("conv2d-im2col-{isa}"),
            Algo::Direct => format!("conv2d-direct-{isa}"),
        }
    }
}
