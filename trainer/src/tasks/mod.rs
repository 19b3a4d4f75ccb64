//! The task: restoring the missing half of an image.

mod batches;
mod half_crop;

pub(crate) use batches::{TrainingBatches, ValidationBatches};
pub use half_crop::{Half, UnknownHalf};
