//! Hand-written forward and backward passes of a small convolutional network.
//!
//! [`Backend`] is the table of contents: one documented method a pass. [`Reference`] computes every pass with naive loops in
//! f64 and is the oracle; [`Cpu`] is the fast path: SIMD chosen at run time, parallel, and bit-for-bit repeatable; `Cuda`
//! (feature `cuda`, on by default) runs on NVIDIA GPUs.
//!
//! Each operation has a folder. Its `mod.rs` opens with the equations of the forward and backward pass, shapes and aliasing
//! rules, and defines the parameters that every implementation shares; `reference.rs`, `cpu.rs` (or `cpu/`) and `cuda/` beside it
//! are the implementations:
//!
//! | operation | passes |
//! | --- | --- |
//! | [`conv2d`] | convolution and transposed convolution: forward, input, weight and bias gradient |
//! | [`batch_norm`] | training and inference forward, backward |
//! | [`epilogue`] | what follows a convolution in a fused layer: forward, backward |
//! | [`activation`] | GELU, sigmoid, ReLU and others: forward, backward |
//! | [`prelu`] | rectifier with a trained slope: forward, backward |
//! | [`rrelu`] | rectifier with random slopes: forward, backward |
//! | [`add`] | weighted addition, scaled copy |
//! | [`pad`] | zeros at the bottom and right, and cutting them off |
//! | [`loss`] | L1 and mean squared error: forward, backward |
//! | [`adamw`] | one optimizer step over flat arrays |
//! | [`finite`] | whether any value is NaN or infinite |
//! | [`custom`] | a pass of the caller's own, on host memory |
//! | [`collective`] | sums over the ranks of a data-parallel run |
//!
//! Letters in shapes: `x[N,H,W,C]` is the input of a pass, `w[R,S,C,K]` a weight, `y[N,P,Q,K]` an output; `dx`, `dw`, `dy` are
//! gradients of the loss with respect to them. Activations are channels-last. The crate knows nothing of tensors, graphs or files.

pub mod activation;
pub mod adamw;
pub mod add;
mod backend;
pub mod batch_norm;
pub mod collective;
pub mod conv2d;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod cuda_rt;
pub mod custom;
pub mod epilogue;
pub mod finite;
mod loops;
pub mod loss;
pub mod memory;
pub mod pad;
pub mod parallel;
pub mod peak;
pub mod prelu;
pub mod random;
mod reference;
pub mod rrelu;
pub mod simd;
#[cfg(test)]
mod testing;

pub use backend::{Backend, Element, Write};
pub use cpu::{Cpu, CpuError};
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
#[cfg(feature = "cuda")]
pub use cuda_rt::{CudaError, CudaMemory};
pub use memory::{HostMemory, OutOfMemory, Region, Span};
pub use reference::Reference;
