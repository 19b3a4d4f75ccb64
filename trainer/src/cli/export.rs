//! `resconv export`

use super::weights::{DataFlags, ModelArgs, open};
use clap::Args;
use std::path::PathBuf;
use trainer::output::onnx;
use trainer::system::names::derived;
use trainer::system::terminal::print_result;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Folder, checkpoint or weights of a run, the name of a network that ships, or a PyTorch state_dict saved by
    /// safetensors
    checkpoint: PathBuf,
    /// The ONNX file [default: the checkpoint's name with .onnx]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write validation images as `input`, and what the network makes of them as `output`, to this safetensors file
    #[arg(long, value_name = "FILE")]
    example: Option<PathBuf>,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) fn run(args: ExportArgs) -> anyhow::Result<()> {
    let ExportArgs { checkpoint: path, out, example, force, model, data } = args;
    let (checkpoint, settings) = open(&path, model.into_sources(None, data)?)?;
    let out = out.unwrap_or_else(|| {
        checkpoint.path.with_file_name(derived(checkpoint.path.file_stem().unwrap_or_default(), ".onnx"))
    });
    onnx::export(&settings, &checkpoint, &onnx::Request { out: out.clone(), example, overwrite: force })?;
    Ok(print_result(&out.display().to_string())?)
}
