//! Hand-written forward and backward passes of a small convolutional network.
//!
//! A [`Pass`] is one kernel call, as data. [`Call`] is the enum of all passes, and the table of contents of this crate.
//! A [`Backend`] is a device that runs calls. [`Reference`] is the oracle: naive loops in f64. [`Cpu`] is the fast
//! path: SIMD chosen at run time, parallel, and bit-for-bit repeatable. `Cuda` (feature `cuda`, on by default) runs on
//! NVIDIA GPUs.
//!
//! Each operation has a folder. Its `mod.rs` opens with the equations of the forward and backward pass, shapes and
//! aliasing rules, and defines the passes. Beside it, `reference.rs`, `cpu.rs` (or `cpu/`) and `cuda/` implement them,
//! and `tests.rs` compares the implementations. [`collective`] has the sums over the ranks of a data-parallel run.
//! These are not passes, because ranks wait for each other in them.
//!
//! Letters in shapes: `x[N,H,W,C]` is the input of a pass, `w[R,S,C,K]` a weight, `y[N,P,Q,K]` an output; `dx`, `dw`,
//! `dy` are the gradients of the loss with respect to them. Activations are channels-last. The crate knows nothing
//! about tensors, graphs or files.

mod backend;
mod backends;
pub mod collective;
mod element;
#[cfg(feature = "faults")]
pub mod faults;
#[cfg(feature = "cuda")]
mod gpu;
mod host;
mod loops;
mod mark;
pub mod memory;
mod ops;
pub mod parallel;
mod pass;
mod passes;
pub mod peak;
pub mod random;
pub mod simd;
#[cfg(test)]
mod testing;

pub use backend::{Backend, Refusal};
#[cfg(feature = "cuda")]
pub use backends::Cuda;
pub use backends::Reference;
pub use element::Element;
#[cfg(feature = "cuda")]
pub use gpu::{CudaError, CudaMemory, Gpu};
pub use host::{Cpu, CpuError};
pub use mark::Mark;
pub use memory::{HostMemory, OutOfMemory, Region, Span};
pub use ops::*;
pub use pass::{Access, Aliasing, Context, Operands, Pass, Write};
pub use passes::Call;
