//! What the whole-system tests in this package's `tests/` folder share.
#![forbid(unsafe_code)]

pub mod compare;
pub mod cuda;
pub mod fixture;
pub mod golden;
