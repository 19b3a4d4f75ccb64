//! `resconv`: trains the half-crop experiment, validates its networks and restores images with them.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use trainer::sweep::SweepError;
use trainer::train::TrainError;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Where standard error is closed, the exit code alone has to tell.
        Err(error) => {
            let stopped = match (error.downcast_ref(), error.downcast_ref()) {
                (Some(TrainError::Stopped(stopped)), _) | (_, Some(SweepError::Stopped { stopped })) => Some(stopped),
                _ => None,
            };
            let what = if stopped.is_some() { "" } else { "error: " };
            let _ = writeln!(std::io::stderr(), "{what}{error}");
            stopped.map_or(ExitCode::FAILURE, |stopped| stopped.signal.exit_code().into())
        }
    }
}
