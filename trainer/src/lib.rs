//! The half-crop experiment: training, validation and use of the network, and all that it reads and writes.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`settings`] | what can be chosen about a run, and where it was chosen |
//! | [`data`] | where the dataset is, and which images a step gets |
//! | [`tasks`] | what the network is asked: the damage, and the batches |
//! | [`train`](mod@train) | how a run goes on, on which device, and what it leaves behind |
//! | [`apply`] | how good a network is, and what it makes of the user's images |
//! | [`sweep`](mod@sweep) | how many runs are one experiment |
//! | [`output`] | what is shown of runs, and what other programs read of them |
//! | [`lab`] | whether every gradient is right, and where time and memory go |
//! | [`published`] | what the study measured |
//! | [`system`] | files that are whole or absent, signals, progress, ranks |
//!
//! The binary `resconv` is the command line around it.
#![forbid(unsafe_code)]

pub mod apply;
pub mod data;
pub mod lab;
pub mod output;
pub mod published;
pub mod settings;
pub mod sweep;
pub mod system;
pub mod tasks;
pub mod train;
