//! A driver emulator, for tests only: builds a `libcuda.so.1` from a program's own `.cu` sources, so that the program
//! runs without a GPU. See the crate's README for what it can find and what it can't.
//!
//! ```no_run
//! use cuda_emulator::{Emulator, Mode, Order};
//!
//! let sources = cuda_emulator::sources_in("kernels/src".as_ref()).unwrap();
//! let emulator = Emulator::build(&sources, &[], Mode::Plain, "target/tmp".as_ref()).unwrap();
//! let mut command = emulator.command("target/release/resconv", Order::Reverse);
//! let status = command.args(["train", "--device", "cuda"]).status();
//! # let _ = status;
//! ```
#![forbid(unsafe_code)]

mod compile;
mod rewrite;
mod run;

pub use compile::{Emulator, Mode, sources_in};
pub use run::{Order, is_child, required};

use std::path::PathBuf;

/// Why there is no emulator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `g++` can't be started.
    #[error("g++ can't be started ({0}); the CUDA driver emulator is built with it (Debian: apt-get install g++)")]
    NoCompiler(std::io::Error),
    /// `g++` refused a file.
    #[error("g++ can't compile {path} for the CUDA driver emulator:\n{messages}")]
    Compile {
        /// The source.
        path: PathBuf,
        /// What the compiler wrote.
        messages: String,
    },
    /// A kernel source contains something that the emulator can't express on the host.
    #[error("{path}: {message}")]
    Source {
        /// The source.
        path: PathBuf,
        /// What was found and what is expected.
        message: String,
    },
    /// A file or folder can't be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
