//! `resconv restore`

use super::weights::{DataFlags, ModelArgs, open};
use clap::Args;
use std::path::PathBuf;
use trainer::apply::restore::{self, Request};
use trainer::system::terminal::print_status;
use trainer::tasks::Half;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Folder, checkpoint or weights of a run, or a PyTorch state_dict saved by safetensors
    checkpoint: PathBuf,
    /// PNG or JPEG images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The missing half: left, right, top or bottom; it is taken away if it is there
    #[arg(long, value_name = "HALF")]
    missing: Half,
    /// Folder for NAME-restored.png
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write what the network gets, too, as NAME-input.png
    #[arg(long)]
    with_input: bool,
    /// Show every pixel as a square of this many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    scale: u8,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    model: ModelArgs,
}

pub(super) fn run(args: RestoreArgs) -> anyhow::Result<()> {
    let RestoreArgs { checkpoint, images, missing, out, with_input, scale, force, model } = args;
    let (checkpoint, settings) = open(&checkpoint, model.into_sources(None, DataFlags::default())?)?;
    let request = Request { images, missing, out, with_input, scale: scale.into(), overwrite: force };
    restore::restore(&settings, &checkpoint, &request, &mut print_status)?;
    Ok(())
}
