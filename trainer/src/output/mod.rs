//! What is shown of runs, and what other programs read of them.

pub mod onnx;
pub mod picture;
pub mod plot;
pub mod report;
pub mod summary;
pub mod table;
pub mod tensorboard;
