//! `resconv restore`

use super::weights::{DataFlags, ModelArgs, open};
use clap::{ArgAction, Args};
use std::path::PathBuf;
use trainer::apply::restore::{self, Missing, Request};
use trainer::system::terminal::print_status;
use trainer::tasks::Half;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Folder, checkpoint or weights of a run, the name of a network that ships, or a PyTorch state_dict saved by
    /// safetensors
    checkpoint: PathBuf,
    /// PNG, JPEG, WebP or BMP pictures, and folders of them
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The half that is missing: left, right, top or bottom; it is taken away if it is there. Only for networks that
    /// add what is missing; without --missing and --mask, that is what is transparent
    #[arg(long, value_name = "HALF", conflicts_with = "mask")]
    missing: Option<Half>,
    /// Picture of the same size, not black where pixels are missing
    #[arg(long, value_name = "IMAGE")]
    mask: Option<PathBuf>,
    /// Keep the pixels that are not missing as they are
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    keep_known: bool,
    /// Damage the pictures first, as validation images are
    #[arg(long, conflicts_with_all = ["missing", "mask", "enlarged"])]
    damage: bool,
    /// The pictures have been enlarged already, for a network that was trained with downscale; without this, they are
    /// enlarged first
    #[arg(long)]
    enlarged: bool,
    /// Make the pictures grey and of the network's size first: for networks that were trained with small pictures of
    /// whole objects, as the study's are
    #[arg(long, conflicts_with_all = ["mask", "compare"])]
    resize: bool,
    /// The true picture, or a folder of true pictures with the same names: prints PSNR and SSIM
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// MiB that the network may take; a large picture is restored in parts [default: 400]
    #[arg(long, value_name = "MIB", default_value_t = 400, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..))]
    memory_limit: u32,
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
    let (checkpoint, settings) = open(&args.checkpoint, args.model.into_sources(None, DataFlags::default())?)?;
    let missing = match (args.missing, args.mask) {
        (Some(half), _) => Missing::Half(half),
        (None, Some(mask)) => Missing::Mask(mask),
        (None, None) => Missing::Transparent,
    };
    let request = Request {
        images: args.images,
        missing,
        keep_known: args.keep_known,
        damage: args.damage,
        enlarged: args.enlarged,
        resize: args.resize,
        compare: args.compare,
        memory_limit: args.memory_limit as usize,
        out: args.out,
        with_input: args.with_input,
        scale: args.scale.into(),
        overwrite: args.force,
    };
    restore::restore(&settings, &checkpoint, &request, &mut print_status)?;
    Ok(())
}
