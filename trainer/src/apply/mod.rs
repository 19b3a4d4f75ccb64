//! What is done with a trained network: validating it, and restoring images with it.

mod error;
pub mod eval;
pub mod restore;

pub use error::ApplyError;
