//! Tasks: what is wrong with the images that a network restores.
//!
//! A [`Task`] is a chain of damage. Each kind has a file of its own, and a line in the list of `task.rs`.

mod batches;
mod blur;
mod boxes;
mod colorize;
mod damage;
mod downscale;
mod fill;
mod half;
mod half_crop;
mod jpeg;
mod noise;
mod parameters;
mod pixels;
mod quantize;
mod resample;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use batches::{Samples, TrainingBatches, ValidationBatches};
pub(crate) use damage::{Damaged, Draws, Enlargement, with_missing};
pub(crate) use fill::fill;
pub use half::{Half, UnknownHalf};
pub use task::{NeedsColors, Task, UnknownTask, kinds};
