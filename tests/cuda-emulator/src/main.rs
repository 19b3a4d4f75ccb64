//! Builds the emulator of this project's kernels, or finds it, and prints its folder: what `LD_LIBRARY_PATH` must begin
//! with, for a program to run on it.
//!
//! ```text
//! LD_LIBRARY_PATH=$(cargo run --release -p cuda-emulator) target/release/resconv train --device cuda
//! ```
#![forbid(unsafe_code)]

use cuda_emulator::{Emulator, Error, Mode, Result, sources_in};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match folder() {
        Ok(folder) => {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn folder() -> Result<PathBuf> {
    let sources = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels/src"))?;
    // `target/tmp`, where tests build theirs.
    let error = |error| Error::File { path: "this program".into(), error };
    let program = std::env::current_exe().map_err(error)?;
    let cache = program.ancestors().nth(2).unwrap_or(Path::new(".")).join("tmp");
    std::fs::create_dir_all(&cache).map_err(|error| Error::File { path: cache.clone(), error })?;
    Ok(Emulator::build(&sources, &[], Mode::Plain, &cache)?.folder().to_path_buf())
}
