//! `resconv`: trains the half-crop experiment, validates its networks and restores images with them.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;
use trainer::sweep::SweepError;
use trainer::system::ranks::{Ranks, RanksError};
use trainer::system::terminal::print_error;
use trainer::train::TrainError;

fn main() -> ExitCode {
    let ranks = match Ranks::start() {
        Ok(ranks) => ranks,
        // One message is enough.
        Err(RanksError::NotBuilt { rank: 1.., .. }) => return ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if ranks.count() > 1 {
        ranks.abort_on_panic();
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if ranks.is_leader() {
                let _ = error.print();
            }
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match cli::run(cli, &ranks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, &ranks),
    }
}

/// Prints the error of this rank, and ends the other ranks. An error that all ranks have is printed by the first one
/// alone, and they end by themselves.
fn fail(error: &anyhow::Error, ranks: &Ranks) -> ExitCode {
    let stopped = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(TrainError::Stopped(stopped)), _) | (_, Some(SweepError::Stopped { stopped })) => Some(stopped),
        _ => None,
    };
    if ranks.is_leader() {
        print_error(&format!("{}{error}", if stopped.is_some() { "" } else { "error: " }));
        if stopped.is_none() {
            ranks.abort(1);
        }
    } else if !error.downcast_ref().is_some_and(TrainError::is_of_all_ranks) {
        print_error(&format!("error: {ranks}: {error}"));
        ranks.abort(1);
    }
    stopped.map_or(ExitCode::FAILURE, |stopped| stopped.signal.exit_code().into())
}
