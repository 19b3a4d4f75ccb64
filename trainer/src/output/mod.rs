//! What is shown of runs, and what other programs read of them.

pub mod chart;
pub mod loss_curve;
pub mod onnx;
pub mod picture;
pub(crate) mod png;
pub mod report;
pub mod summary;
pub mod table;
pub mod tensorboard;
