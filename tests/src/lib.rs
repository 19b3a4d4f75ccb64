//! Shared by the whole-system tests in this package's `tests/` folder.
#![forbid(unsafe_code)]

pub mod compare;
pub mod cuda;
pub mod fixture;
pub mod golden;
pub mod networks;
