//! Checkpoints: safetensors files with PyTorch's names and layouts.
//!
//! | tensor | type | meaning |
//! | --- | --- | --- |
//! | `encoder.layer_1.conv.weight`, ... | F32, or F64 from the reference device | the network's `state_dict`; convolution weights are `[K,C,R,S]` |
//! | `encoder.layer_1.bn.num_batches_tracked`, ... | I64, no dimensions | training steps of the network |
//! | `optimizer.exp_avg.NAME`, `optimizer.exp_avg_sq.NAME` | as the weight | AdamW's first and second moment of the parameter NAME |
//!
//! The metadata, all strings: `format` is `pt`, as PyTorch's own files have it; `resconv.version` is the version of this format;
//! `resconv.settings` holds the run's [`Settings`](crate::settings::Settings) and `resconv.position` its [`Position`], both as JSON; `resconv.sha256` is the
//! SHA-256, in hexadecimal, over every tensor in order of name (name, type, shape, bytes), and then over every other entry of the
//! metadata in order of key; texts and shapes are preceded by their lengths, and all numbers are little-endian 64-bit ones.
//! It is verified whenever a file with any entry of `resconv` is read.
//!
//! A file without the optimizer's tensors, settings and position is a bare `state_dict`, as `safetensors.torch.save_file` writes it:
//! it can be evaluated and trained on, but not resumed. PyTorch reads a checkpoint with `load_state_dict(..., strict=False)`.

mod architecture;
mod error;
mod file;
mod tensors;
#[cfg(test)]
mod tests;

pub use architecture::Architecture;
pub use error::CheckpointError;
pub use file::{Checkpoint, Position, RunState, Tensor, Values};
pub use tensors::{load_optimizer, load_weights, optimizer_state, state_dict};
