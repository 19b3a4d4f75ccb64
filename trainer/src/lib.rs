//! The half-crop experiment: training, validation and use of the network, and all that it reads and writes.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`settings`] | what can be chosen about a run, and where it was chosen |
//! | [`data`] | where the dataset is, and which images a step gets |
//! | [`device`] | what computes |
//! | [`passes`] | which plans a session has |
//! | [`ranks`] | which processes compute a run together |
//! | [`train`](mod@train) | how a run goes on, and what it leaves behind |
//! | [`checkpoint`] | how its state is kept |
//! | [`sweep`](mod@sweep) | how many runs are one experiment |
//! | [`eval`] | how good a network is |
//! | [`reference`](mod@reference) | what others measured |
//! | [`restore`](mod@restore) | what it makes of the user's images |
//! | [`report`] | what runs came to, side by side |
//! | [`summary`], [`progress`], [`picture`], [`plot`], [`table`] | what is shown of it |
//! | [`gradcheck`] | whether every gradient is right |
//! | [`profile`] | where time and memory go |
//! | [`tensorboard`], [`onnx`] | what other programs read of it |
//! | [`stop`] | what asks a run to stop |
//! | [`files`] | how files are written whole or not at all |
//!
//! The binary `resconv` is the command line around it.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod data;
pub mod device;
pub mod eval;
pub mod files;
pub mod gradcheck;
pub mod onnx;
pub mod passes;
pub mod picture;
pub mod plot;
pub mod profile;
pub mod progress;
pub mod ranks;
pub mod reference;
pub mod report;
pub mod restore;
pub mod settings;
pub mod stop;
pub mod summary;
pub mod sweep;
pub mod table;
pub mod tensorboard;
pub mod train;
