//! What a trained network is good for: its validation losses, and the images that it restores.

pub mod eval;
pub mod restore;
