//! The kernels of 3x3 convolutions of stride 1: those of `conv2d_halo.cu`, and on tensor cores those of
//! `conv2d_halo_tf32.cu` and `conv2d_halo_tf32x3.cu`, which compute the same in another precision.

use super::args::{CudaConv, Map};
use crate::gpu::{Gpu, Kernel, Ptr};
use crate::ops::conv2d::params::Direction;

/// The kernels of one precision.
pub(super) struct Halo<'a> {
    forward: &'a Kernel<(CudaConv, Map, Ptr, Ptr, Ptr, Ptr)>,
    adjoint: &'a Kernel<(CudaConv, Map, Ptr, Ptr, Ptr, Ptr)>,
    pub(super) grad_weight: &'a Kernel<(CudaConv, u32, Map, Ptr, Map, Ptr, Ptr)>,
    /// Whether they use tensor cores.
    pub(super) on_tensor_cores: bool,
}

impl<'a> Halo<'a> {
    /// Those of the precision that the GPU has been loaded for.
    pub(super) fn of(gpu: &'a Gpu) -> Halo<'a> {
        let tf32 = || gpu.find::<tf32::Kernels>().map(tf32::Kernels::halo);
        let tf32x3 = || gpu.find::<tf32x3::Kernels>().map(tf32x3::Kernels::halo);
        tf32().or_else(tf32x3).unwrap_or_else(|| gpu.kernels::<f32::Kernels>().halo())
    }

    /// The kernel of a forward pass or an input gradient.
    pub(super) fn convolve(&self, direction: Direction) -> &'a Kernel<(CudaConv, Map, Ptr, Ptr, Ptr, Ptr)> {
        match direction {
            Direction::Forward => self.forward,
            Direction::Adjoint => self.adjoint,
        }
    }
}

/// A module for the kernels of a file.
macro_rules! precision {
    ($module:ident, $on_tensor_cores:literal, $file:literal $(with $header:literal)*:
     $forward:ident, $adjoint:ident, $grad_weight:ident of $threads:literal) => {
        pub(super) mod $module {
            use super::{CudaConv, Halo, Map, Ptr};
            use crate::gpu::kernels;

            kernels!($file $(with $header)* {
                $forward: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
                $adjoint: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
                $grad_weight: $threads (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
            });

            impl Kernels {
                pub(super) fn halo(&self) -> Halo<'_> {
                    Halo {
                        forward: &self.$forward,
                        adjoint: &self.$adjoint,
                        grad_weight: &self.$grad_weight,
                        on_tensor_cores: $on_tensor_cores,
                    }
                }
            }
        }
    };
}

precision!(f32, false, "conv2d_halo" with "conv2d.cuh" with "halo.cuh":
    conv2d_forward_halo, conv2d_adjoint_halo, conv2d_weight_halo of 128);
precision!(tf32, true, "conv2d_halo_tf32" with "conv2d.cuh" with "halo.cuh" with "mma.cuh" with "halo_mma.cuh":
    conv2d_tf32_forward_halo, conv2d_tf32_adjoint_halo, conv2d_tf32_weight_halo of 288);
precision!(tf32x3, true, "conv2d_halo_tf32x3" with "conv2d.cuh" with "halo.cuh" with "mma.cuh" with "halo_mma.cuh":
    conv2d_tf32x3_forward_halo, conv2d_tf32x3_adjoint_halo, conv2d_tf32x3_weight_halo of 288);
