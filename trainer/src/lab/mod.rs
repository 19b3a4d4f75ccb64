//! Tools for the kernels: checks of their gradients, and profiles of time and memory.

pub mod gradcheck;
pub mod profile;
