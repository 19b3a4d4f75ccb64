//! `resconv profile`

use super::weights::{DataFlags, ModelArgs};
use anyhow::bail;
use clap::{Args, Subcommand};
use kernels::conv2d::{Algo, PassKind, UnknownAlgo};
use kernels::simd::Isa;
use std::path::{Path, PathBuf};
use trainer::lab::profile::conv::{self, Clock, Layer as Shape, Preset, parse_shape};
use trainer::lab::profile::step::{self, By};
use trainer::settings::{resolve, show_default};
use trainer::system::files::{check_outputs, write_bytes};
use trainer::system::terminal::{print_result, print_status, print_while_waiting};

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Time one training step, by step of its plan
    Step(Box<StepArgs>),
    /// Time the passes of convolutions, with every algorithm, against the machine's peak
    Conv(ConvArgs),
}

#[derive(Debug, Args)]
#[command(mut_args = show_default)]
pub(crate) struct StepArgs {
    /// Runs of the training step; times are medians over them
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// What the table has a row for; can be repeated
    #[arg(long, value_enum, default_values_t = [By::Op, By::Layer])]
    by: Vec<By>,
    /// Run the passes of a fused layer one after another, so that each has its own time
    #[arg(long)]
    separate: bool,
    /// Write the steps of one run and the arena's use for ui.perfetto.dev or chrome://tracing
    #[arg(long, value_name = "JSON")]
    trace: Option<PathBuf>,
    /// Write every step as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    model: ModelArgs,
    /// Images a step
    #[arg(long, help_heading = "Training")]
    batch: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ConvArgs {
    /// A convolution as N,H,W,C,K,R,S,stride,pad or N,H,W,C,K,R,S,stride,pad,groups; can be repeated
    #[arg(long, value_name = "SHAPE", value_parser = parse_shape)]
    shape: Vec<Shape>,
    /// Convolutions that are worth measuring; can be repeated [default: step, if there is no --shape]
    #[arg(long, value_enum)]
    preset: Vec<Preset>,
    /// Algorithm: im2col, direct, winograd2x3, winograd4x3, winograd4x4, winograd4x5 or all; can be repeated [default:
    /// all]
    #[arg(long, value_parser = parse_algo)]
    algo: Vec<Vec<Algo>>,
    /// Instruction set: portable, avx2 or avx512 [default: KERNELS_ISA, or the widest]
    #[arg(long)]
    isa: Option<Isa>,
    /// Threads that compute; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Turns of every algorithm; times are medians over them
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Which time counts
    #[arg(long, value_enum, default_value_t = Clock::Wall)]
    clock: Clock,
    /// Do not compare results with the reference, which takes most of the time of large shapes
    #[arg(long)]
    no_errors: bool,
    /// Write the table as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write everything as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the passes under the machine's roofline, as .svg or .png; can be repeated
    #[arg(long, value_name = "FILE")]
    roofline: Vec<PathBuf>,
    /// Overwrite files
    #[arg(long)]
    force: bool,
}

fn parse_algo(name: &str) -> Result<Vec<Algo>, String> {
    match name {
        "all" => Ok(Algo::ALL.to_vec()),
        name => name.parse().map(|algo| vec![algo]).map_err(|error: UnknownAlgo| error.to_string()),
    }
}

pub(super) fn run(command: ProfileCommand) -> anyhow::Result<()> {
    match command {
        ProfileCommand::Step(args) => run_step(*args),
        ProfileCommand::Conv(args) => run_conv(args),
    }
}

fn run_step(args: StepArgs) -> anyhow::Result<()> {
    let StepArgs { runs, by, separate, trace, csv, force, model, batch } = args;
    check_outputs([&trace, &csv].into_iter().flatten().map(PathBuf::as_path), force)?;
    let settings = resolve(&model.into_sources(batch, DataFlags::default())?)?;
    let profile = step::profile(&settings, runs.into(), separate)?;
    for by in by {
        print_result(&format!("{}\n", profile.table(by)))?;
    }
    print_result(&profile.to_string())?;
    write(trace.as_deref(), &profile.trace().to_string())?;
    write(csv.as_deref(), &profile.table(By::Step).csv())?;
    Ok(())
}

fn run_conv(args: ConvArgs) -> anyhow::Result<()> {
    let ConvArgs { shape, preset, algo, isa, threads, rounds, clock, no_errors, csv, json, roofline, force } = args;
    for path in &roofline {
        if !["svg", "png"].contains(&extension(path)) {
            bail!("--roofline {}: expected a name that ends with .svg or .png", path.display());
        }
    }
    check_outputs(csv.iter().chain(&json).chain(&roofline).map(PathBuf::as_path), force)?;
    let presets = if preset.is_empty() && shape.is_empty() { vec![Preset::Step] } else { preset };
    let layers = shape.into_iter().chain(presets.into_iter().flat_map(Preset::layers)).collect();
    let mut algos: Vec<Algo> = algo.into_iter().flatten().collect();
    if algos.is_empty() {
        algos = Algo::ALL.to_vec();
    }
    let isa = isa.map_or_else(Isa::from_env, Ok)?;
    let passes = PassKind::ALL.to_vec();
    let request =
        conv::Request { layers, isa, algos, passes, threads, rounds: rounds.into(), clock, errors: !no_errors };
    let profile = conv::profile(&request, &mut print_while_waiting)?;
    print_result(&profile.to_string())?;
    write(csv.as_deref(), &profile.table().csv())?;
    write(json.as_deref(), &profile.json().to_string())?;
    for path in &roofline {
        let chart = profile.roofline();
        write_bytes(path, &if extension(path) == "svg" { chart.svg().into_bytes() } else { chart.png() })?;
        wrote(path);
    }
    Ok(())
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Writes a file if there is a path.
fn write(path: Option<&Path>, content: &str) -> anyhow::Result<()> {
    if let Some(path) = path {
        write_bytes(path, content.as_bytes())?;
        wrote(path);
    }
    Ok(())
}

fn wrote(path: &Path) {
    print_status(&format!("written to {}", path.display()));
}
