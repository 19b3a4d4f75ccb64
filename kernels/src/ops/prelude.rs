//! What every pass needs.

#[cfg(feature = "cuda")]
pub(crate) use crate::gpu::{CudaMemory, Gpu};
pub(crate) use crate::host::{Cpu, distinct, scratch};
pub(crate) use crate::memory::{HostMemory, Span};
pub(crate) use crate::pass::{Context, Operands, Pass, Write};
