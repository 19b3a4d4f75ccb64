//! The task: which half of an image is missing, and the batches that ask for it.

mod batches;
mod half_crop;

pub use batches::{TrainingBatches, ValidationBatches};
pub use half_crop::{Half, UnknownHalf, VALIDATION_SEED};
