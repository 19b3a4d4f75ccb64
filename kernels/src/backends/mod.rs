//! The devices: memory and dispatch. What a pass computes is in its operation's folder.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "nccl")]
mod nccl;
mod reference;

#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use reference::Reference;
