//! The kernels of `conv2d_tf32.cu`: convolutions on tensor cores, which take what those of `conv2d.cu` take.

use super::args::{CudaConv, Map};
use crate::gpu::{Kernel, Ptr, kernels};
use crate::ops::conv2d::params::Direction;

kernels!("conv2d_tf32" with "conv2d.cuh" with "mma.cuh" {
    conv2d_tf32_forward_32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_tf32_forward_64: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_tf32_adjoint_32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_tf32_adjoint_64: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_tf32_adjoint_any_32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_tf32_weight_32: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_tf32_weight_64: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
});

impl Kernels {
    /// The kernel of a forward pass or an input gradient with near windows, for tiles of `columns` channels, 32 or 64.
    pub(super) fn convolve(
        &self,
        direction: Direction,
        columns: usize,
    ) -> &Kernel<(CudaConv, Map, Ptr, Ptr, Ptr, Ptr)> {
        match (direction, columns) {
            (Direction::Forward, 64) => &self.conv2d_tf32_forward_64,
            (Direction::Forward, _) => &self.conv2d_tf32_forward_32,
            (Direction::Adjoint, 64) => &self.conv2d_tf32_adjoint_64,
            (Direction::Adjoint, _) => &self.conv2d_tf32_adjoint_32,
        }
    }

    /// The kernel of an input gradient with any windows, for tiles of 32 channels.
    pub(super) fn any_adjoint(&self) -> &Kernel<(CudaConv, Map, Ptr, Ptr, Ptr, Ptr)> {
        &self.conv2d_tf32_adjoint_any_32
    }

    /// The weight gradient's kernel for tiles of `columns` channels, 32 or 64.
    pub(super) fn grad_weight(&self, columns: usize) -> &Kernel<(CudaConv, u32, Map, Ptr, Map, Ptr, Ptr)> {
        match columns {
            64 => &self.conv2d_tf32_weight_64,
            _ => &self.conv2d_tf32_weight_32,
        }
    }
}
