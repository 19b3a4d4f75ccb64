//! The laboratory of the kernels: whether their gradients are right, and where time and memory go.

pub mod gradcheck;
pub mod profile;
