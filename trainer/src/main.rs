//! `resconv`: trains the half-crop experiment, validates its networks and restores images with them.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use trainer::train::TrainError;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Where standard error is closed, the exit code alone has to tell.
        Err(error) => match error.downcast_ref() {
            Some(TrainError::Stopped(stopped)) => {
                let _ = writeln!(std::io::stderr(), "{stopped}");
                stopped.signal.exit_code().into()
            }
            _ => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
