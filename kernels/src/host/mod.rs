//! Shared by the CPU's implementations of all passes: instruction set, threads and scratch.

mod cpu;
mod scratch;

pub use cpu::{Cpu, CpuError};
pub(crate) use scratch::{as_f64, distinct, f64_workspace_len, scratch};
