//! The runtime beneath [`Cuda`](crate::Cuda): driver, memory, and launching kernels.
//!
//! The kernels are CUDA C++, in the folder of each operation (`ops/conv2d/cuda/conv2d.cu`); `common.cuh` is shared,
//! and `random.cuh` by those that draw random numbers.
//! `build.py` compiles them ahead of time to PTX, which is embedded here. The driver compiles the PTX for the GPU that
//! it finds. So running needs only the driver, and building needs nothing. `RESOURCES.md` says what the kernels use on
//! each architecture, and `ROOFLINE.md` estimates the time of a training step. The kernels on tensor cores need compute
//! capability 8.0 or later, and are loaded only on request ([`Cuda::with_precision`](crate::Cuda::with_precision)); all
//! others need 7.0 or later.
//!
//! The driver library is loaded when [`Cuda::new`](crate::Cuda::new) is called; a machine without one gets a
//! [`CudaError`].

pub(crate) mod columns;
mod device;
mod event;
mod graph;
mod kernel;
mod loaded;
mod memory;
#[cfg(test)]
mod ptx;
#[cfg(test)]
mod tests;
mod upload;
mod words;

pub use device::CudaError;
pub(crate) use device::{Device, check_gpu, device_count};
pub(crate) use event::Event;
pub(crate) use kernel::{Arg, Kernel, KernelSet, flat_grid, kernels};
#[cfg(test)]
pub(crate) use kernel::{Args, KernelFile, Signature};
pub use loaded::Gpu;
pub use memory::CudaMemory;
pub(crate) use memory::{Ptr, Slice};
pub(crate) use words::DeviceWords;

/// Threads of a block, except in the convolutions: `BLOCK` in common.cuh.
pub(crate) const BLOCK: usize = 256;

/// Elements that a thread of an element-wise kernel computes: `PER_THREAD` in common.cuh.
pub(crate) const PER_THREAD: usize = 4;
