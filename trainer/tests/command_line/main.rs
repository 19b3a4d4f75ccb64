//! The binary `resconv` as its users meet it.

mod checks;
mod common;
mod errors;
mod restore;
mod resume;
mod train;
