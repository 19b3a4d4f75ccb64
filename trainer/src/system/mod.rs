//! The machine around a run: files, signals, the terminal, and other processes.

pub mod files;
pub mod progress;
pub mod ranks;
pub mod stop;
