//! `resconv eval`

use super::verbosity::VerbosityFlags;
use super::weights::{DataFlags, ModelArgs, open};
use clap::Args;
use std::path::PathBuf;
use trainer::apply::eval;
use trainer::settings::show_default;
use trainer::system::files::check_outputs;
use trainer::system::terminal::print_result;
use trainer::train::RunFolder;
use trainer::train::checkpoint::{CheckpointError, Problem};

#[derive(Debug, Args)]
#[command(mut_args = show_default)]
pub(super) struct EvalArgs {
    /// Folder, checkpoint or weights of a run, a folder of runs, or a PyTorch state_dict saved by safetensors
    checkpoint: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Write where the network errs, by pixel and by class, to this JSON file
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    /// Images a batch, for batch statistics; the weights of a run have their own
    #[arg(long, help_heading = "Run")]
    batch: Option<usize>,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    verbosity: VerbosityFlags,
}

pub(super) fn run(args: EvalArgs) -> anyhow::Result<()> {
    let EvalArgs { checkpoint, model, errors: errors_file, force, batch, data, verbosity } = args;
    verbosity.apply();
    check_outputs(errors_file.as_deref(), force)?;
    let sources = model.into_sources(batch, data)?;
    if errors_file.is_none()
        && let Err(CheckpointError::Content { problem: Problem::NoRun { runs }, .. }) =
            RunFolder::weights_of(&checkpoint)
        && !runs.is_empty()
    {
        for run in runs {
            print_result(&run.display().to_string())?;
            let (checkpoint, settings) = open(&run, sources.clone())?;
            let (validation, _) = eval::evaluate(&settings, &checkpoint)?;
            print_result(&format!("{validation}\n"))?;
        }
        return Ok(());
    }
    let (checkpoint, settings) = open(&checkpoint, sources)?;
    let (validation, errors) = eval::evaluate(&settings, &checkpoint)?;
    print_result(&validation.to_string())?;
    if let Some(path) = errors_file {
        errors.write(&path)?;
    }
    Ok(())
}
