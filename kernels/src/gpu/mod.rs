//! The runtime beneath [`Cuda`](crate::Cuda): driver, memory, and launching kernels.
//!
//! The kernels are CUDA C++ beside each operation (`ops/conv2d/cuda/conv2d.cu`), with what all share in `common.cuh`.
//! `build.py` compiles them ahead of time to PTX, which is embedded here and compiled for the GPU at hand by its
//! driver: to run, nothing but the driver is needed, and to build, nothing at all. `RESOURCES.md` says what the kernels
//! cost on each architecture, and `ROOFLINE.md` what that makes of a training step, on paper. The kernels on tensor
//! cores are for compute capability 8.0 or later, and loaded where they are asked for
//! ([`Cuda::with_tf32`](crate::Cuda::with_tf32)); all others are for 7.0 or later.
//!
//! The driver library is loaded when [`Cuda::new`](crate::Cuda::new) is called; a machine without one gets a
//! [`CudaError`].
//!
//! **No GPU has run this code yet.** What has been checked, and how, is in the README.

pub(crate) mod columns;
mod device;
mod graph;
mod kernel;
mod loaded;
mod memory;
#[cfg(test)]
mod ptx;
#[cfg(test)]
mod tests;
mod upload;

pub use device::CudaError;
pub(crate) use device::{Device, check_gpu, device_count};
pub(crate) use kernel::{Arg, Kernel, KernelSet, flat_grid, kernels};
#[cfg(test)]
pub(crate) use kernel::{Args, KernelFile, Signature};
pub use loaded::Gpu;
pub use memory::CudaMemory;
pub(crate) use memory::{Ptr, Slice};

/// Threads of a block, but for the convolutions: `BLOCK` in common.cuh.
pub(crate) const BLOCK: usize = 256;

/// Elements that a thread of an element-wise kernel computes: `PER_THREAD` in common.cuh.
pub(crate) const PER_THREAD: usize = 4;
