//! What is done with a trained network: validating it, and restoring images with it.

pub mod eval;
pub mod restore;
