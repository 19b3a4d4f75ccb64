//! `resconv`: trains the half-crop experiment, validates its networks and restores images with them.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::io::{self, Write};
use std::process::ExitCode;
use trainer::output::report::ReportError;
use trainer::sweep::SweepError;
use trainer::system::ranks::Ranks;
use trainer::system::terminal::{PrintError, READER_CLOSED, lost_status, print_error};
use trainer::train::TrainError;

fn main() -> ExitCode {
    let ranks = match Ranks::start() {
        Ok(ranks) => ranks,
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
        Err(error) => return print_usage(&error, &ranks),
    };
    match (cli::run(cli, &ranks), lost_status()) {
        (Ok(()), None) => ExitCode::SUCCESS,
        (Ok(()), Some(lost)) => {
            print_error(&format!("error: {lost}"));
            ExitCode::FAILURE
        }
        (Err(error), _) => fail(&error, &ranks),
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn print_usage(usage: &clap::Error, ranks: &Ranks) -> ExitCode {
    let print = || Ok(usage.print().and_then(|()| io::stdout().flush())?);
    match if ranks.is_leader() { print() } else { Ok(()) } {
        Err(error) if !usage.use_stderr() => print_failure(&error),
        _ => u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Says that standard output is full. That nobody reads it any more needs no words.
fn print_failure(error: &PrintError) -> ExitCode {
    if error.is_reader_closed() {
        return READER_CLOSED.into();
    }
    print_error(&format!("error: {error}"));
    ExitCode::FAILURE
}

/// Prints the error of this rank, and ends the other ranks. An error that all ranks have is printed by the first one
/// alone, and they end by themselves.
fn fail(error: &anyhow::Error, ranks: &Ranks) -> ExitCode {
    let stopped = match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(TrainError::Stopped(stopped)), ..) | (_, Some(SweepError::Stopped { stopped }), _) => {
            Some(stopped.signal)
        }
        (.., Some(ReportError::Stopped(signal))) => Some(*signal),
        _ => None,
    };
    if let Some(error) = error.downcast_ref::<PrintError>() {
        let code = print_failure(error);
        ranks.abort(1);
        return code;
    }
    if ranks.is_leader() {
        print_error(&format!("{}{error}", if stopped.is_some() { "" } else { "error: " }));
        if stopped.is_none() {
            ranks.abort(1);
        }
    } else if !error.downcast_ref().is_some_and(TrainError::is_of_all_ranks) {
        print_error(&format!("error: {ranks}: {error}"));
        ranks.abort(1);
    }
    stopped.map_or(ExitCode::FAILURE, |signal| signal.exit_code().into())
}
