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
    /// Folder, checkpoint or weights of a run, the name of a network that ships, a folder of runs, or a PyTorch
    /// state_dict saved by safetensors
    checkpoint: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Write where the network errs, by pixel and by class, to this JSON file
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// Write some validation images to this PNG file: what the network sees, what it restores, and how they truly are
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Images in it
    #[arg(long, value_name = "NUMBER", default_value_t = 16, requires = "picture", value_parser = clap::value_parser!(u16).range(1..=1024))]
    picture_images: u16,
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
    let EvalArgs { checkpoint, model, errors: errors_file, picture, picture_images, force, batch, data, verbosity } =
        args;
    verbosity.apply();
    check_outputs(errors_file.iter().chain(&picture).map(PathBuf::as_path), force)?;
    let sources = model.into_sources(batch, data)?;
    if errors_file.is_none()
        && picture.is_none()
        && let Err(CheckpointError::Content { problem: Problem::NoRun { runs }, .. }) =
            RunFolder::weights_of(&checkpoint)
        && !runs.is_empty()
    {
        for run in runs {
            print_result(&run.display().to_string())?;
            let (checkpoint, settings) = open(&run, sources.clone())?;
            let (validation, _) = eval::evaluate(&settings, &checkpoint, None)?;
            print_result(&format!("{validation}\n"))?;
        }
        return Ok(());
    }
    let (checkpoint, settings) = open(&checkpoint, sources)?;
    let (validation, errors) =
        eval::evaluate(&settings, &checkpoint, picture.as_deref().map(|path| (path, picture_images.into())))?;
    print_result(&validation.to_string())?;
    if let Some(path) = errors_file {
        errors.write(&path)?;
    }
    Ok(())
}
