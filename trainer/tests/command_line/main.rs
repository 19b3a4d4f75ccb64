//! The binary `resconv` as its users meet it.

mod checks;
mod common;
mod errors;
mod faults;
mod restore;
mod resume;
mod stopping;
mod sweep;
mod train;
