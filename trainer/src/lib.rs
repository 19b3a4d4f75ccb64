//! The half-crop experiment: training, validation and use of the network, and all that it reads and writes.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`settings`] | what can be chosen about a run, and where it was chosen |
//! | [`data`] | where the dataset is, and in which order a run sees its images |
//! | [`tasks`] | what the network learns: the damage to the images, and the batches |
//! | [`train`](mod@train) | what a run does, on which device, and what it leaves behind |
//! | [`validation`] | how good a network is: losses, measures, where it errs, the picture |
//! | [`networks`] | which trained networks ship with the program |
//! | [`apply`] | what a trained network is worth, and what it makes of the user's images |
//! | [`sweep`](mod@sweep) | how many runs are one experiment |
//! | [`output`] | what is shown of runs, and what other programs read of them |
//! | [`lab`] | whether every gradient is right, and where time and memory go |
//! | [`measures`] | how close two images are |
//! | [`published`] | what the study measured |
//! | [`system`] | what the system offers: files, signals, the terminal, the machine, other processes |
//!
//! The binary `resconv` is the command line around it.
#![forbid(unsafe_code)]

pub mod apply;
pub mod data;
pub mod lab;
pub mod measures;
pub mod networks;
pub mod output;
pub mod published;
pub mod settings;
pub mod sweep;
pub mod system;
pub mod tasks;
pub mod train;
pub mod validation;
