//! The system around a run: files, signals, the terminal, the machine and other processes.

pub mod files;
pub(crate) mod json;
pub mod lock;
pub mod machine;
pub mod names;
pub(crate) mod progress;
pub mod ranks;
mod replace;
mod rights;
pub mod stop;
pub mod terminal;
