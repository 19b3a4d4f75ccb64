//! The command line, a command a file.

mod data;
mod eval;
mod export;
mod gradcheck;
mod profile;
mod report;
mod restore;
mod sweep;
mod train;
mod verbosity;
mod weights;

use clap::{Parser, Subcommand};
use trainer::networks::ShippedNetwork;
use trainer::system::ranks::Ranks;
use trainer::train::train_as_follower;

/// Restores images with a residual convolutional encoder/decoder: trains it on Fashion-MNIST or on your own images,
/// validates it, uses it
#[derive(Debug, Parser)]
#[command(name = "resconv", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the help of `train` ends with.
fn after_train_help() -> String {
    format!(
        "\
Several processes train one network with the same result, to rounding, if mpirun starts them:
  cargo build --release --features mpi
  mpirun -n 4 target/release/resconv train --threads 2
It was tested on CPUs only. It has never run on GPUs, neither with sums by MPI nor by NCCL (--features nccl).

What is wrong with the images, for --task. Several follow each other: blur:1.5,noise:0.1.
A number, but for FACTOR, may be a range, from which each image draws its own: noise:0..50/255
{}",
        trainer::tasks::kinds().trim_end()
    )
}

/// What the help of `sweep` ends with.
const SWEEP_HELP: &str = "\
Several processes share the runs if each is started by the same command, on one machine or on several that share the
folder --out: each takes the next run that nobody has, and goes on with that of a process that was killed. As an array of
jobs of Slurm (submit it again to go on), with --shard if each job is to have a part of its own:
  #SBATCH --array=1-4
  #SBATCH --signal=B:TERM@60
  exec resconv sweep my.toml --out /shared/my --shard \"$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT\"";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network, and write its weights, its loss curve and its pictures to a folder
    #[command(args_override_self = true, after_help = after_train_help())]
    Train(Box<train::TrainArgs>),
    /// Run a matrix of settings; repeat the command to go on with the runs that are not done
    #[command(after_help = SWEEP_HELP)]
    Sweep(Box<sweep::SweepArgs>),
    /// Renew the report of a run or a sweep, or write one of several runs
    Report(report::ReportArgs),
    /// Print both validation losses of a checkpoint
    Eval(Box<eval::EvalArgs>),
    /// Write a trained network as an ONNX file
    Export(Box<export::ExportArgs>),
    /// Restore pictures with a trained network
    #[command(after_help = format!("Networks that ship:\n{}", ShippedNetwork::list().trim_end()))]
    Restore(Box<restore::RestoreArgs>),
    /// Show what a dataset holds; check Fashion-MNIST against its published checksums, and fetch it if there is none
    Data(data::DataArgs),
    /// Check the gradients of every operation, on every instruction set and with every algorithm
    Gradcheck(gradcheck::GradcheckArgs),
    /// Time a training step, or the passes of convolutions
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
}

/// Runs the command. Of several ranks, the first one does; the others only help it to train.
pub(crate) fn run(cli: Cli, ranks: &Ranks) -> anyhow::Result<()> {
    if !ranks.is_leader() {
        return Ok(train_as_follower(ranks)?);
    }
    if ranks.count() > 1 && !matches!(cli.command, Command::Train(_)) {
        anyhow::bail!("only `resconv train` runs in several processes: start this command without mpirun");
    }
    match cli.command {
        Command::Train(args) => train::run(&args, ranks),
        Command::Sweep(args) => sweep::run(*args),
        Command::Report(args) => report::run(args),
        Command::Eval(args) => eval::run(*args),
        Command::Export(args) => export::run(*args),
        Command::Restore(args) => restore::run(*args),
        Command::Data(args) => data::run(args),
        Command::Gradcheck(args) => gradcheck::run(args),
        Command::Profile(command) => profile::run(command),
    }
}
