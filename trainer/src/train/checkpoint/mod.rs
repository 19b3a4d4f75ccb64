//! Checkpoints: safetensors files with PyTorch's names and layouts.
//!
//! | tensor | type |
//! | --- | --- |
//! | `encoder.layer_1.conv.weight`, ... | F32, or F64 from the reference device |
//! | `encoder.layer_1.bn.num_batches_tracked`, ... | I64, no dimensions |
//! | `optimizer.exp_avg.NAME`, `optimizer.exp_avg_sq.NAME` | as the weight |
//!
//! The first are the network's `state_dict`, in which the weights of convolutions are `[K,C,R,S]`.
//! `num_batches_tracked` is the number of training steps of the network. The last are AdamW's first and second moment
//! of the parameter NAME.
//!
//! The metadata are strings:
//!
//! - `format` is `pt`, as in PyTorch's own files.
//! - `resconv.version` is the version of this format.
//! - `resconv.settings` has the run's [`Settings`](crate::settings::Settings), as JSON. Those that it leaves out are
//!   the defaults.
//! - `resconv.position` has its [`Position`], as JSON.
//! - `resconv.sha256` is a SHA-256 in hexadecimal, over every tensor in order of name (name, type, shape, bytes), and
//!   then over every other entry of the metadata in order of key. Texts and shapes are preceded by their lengths. All
//!   numbers are little-endian 64-bit ones. It is verified whenever a file with any entry of `resconv` is read.
//!
//! | file | optimizer | settings | position |
//! | --- | --- | --- | --- |
//! | `checkpoint.safetensors`, `best.safetensors` | yes | all | yes |
//! | `model.safetensors` | no | those of the network and its training | no |
//! | a `state_dict` as PyTorch has it, written by `safetensors.torch.save_file` | no | no | no |
//!
//! The settings in `model.safetensors` have no `[run]` and no paths: it can be used on any machine, and trained on, but
//! not resumed. So can a `state_dict`, if the user says those settings that its tensors do not show ([`Architecture`]).
//! PyTorch reads `model.safetensors` with `load_state_dict(safetensors.torch.load_file(...))`, and a checkpoint with
//! `strict=False`.
//!
//! Weights from elsewhere may be F16 or BF16, which become F32, and have names that begin with `module.`, `_orig_mod.`
//! or `model.`, which is taken off ([`Checkpoint::read_weights`]).

mod architecture;
mod error;
mod file;
mod pickle;
mod prefixes;
mod tensors;
#[cfg(test)]
mod tests;

pub use architecture::Architecture;
pub use error::{CheckpointError, Problem, Unknown};
pub use file::{Checkpoint, Position, RunState, Tensor, Values};
pub(crate) use tensors::{load_run, load_weights, optimizer_state, state_dict};
