//! The passes on the CPU, with SIMD.
//!
//! All is done in registers, one vector after another. An activation takes some 5 to 15 cycles for 8 values, the rest
//! of the equations some 3. A second pass over the same 64 KiB would cost more than that, even from the second-level
//! cache. (Measured: the steps one after another, each over the 16 Ki elements of a task, take 1.7 times as long.)
//!
//! Sums over rows are in f32 within a block of 64 rows, and in f64 from block to block. Each task leaves its sums in
//! the workspace. They are then added up in the order of the tasks, so threads do not change a bit.

mod activation;
mod backward;
mod blocks;
mod forward;
mod moments;

pub(super) use backward::{BackwardOperands, Norm, backward, backward_workspace_len};
pub(in crate::ops) use blocks::{BackwardBlocks, ForwardBlocks, InBlocks, blocks_workspace_len};
pub(super) use forward::{ForwardOperands, forward, forward_workspace_len};
