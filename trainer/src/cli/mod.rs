//! The command line.

mod gradcheck;
mod profile;

use clap::{Args, Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use trainer::apply::eval;
use trainer::apply::restore::{self, Request};
use trainer::data;
use trainer::output::onnx;
use trainer::output::report;
use trainer::settings::{Layer, NetworkFlags, Preset, RunFlags, Settings, SettingsFlags, TrainingFlags, resolve};
use trainer::sweep::{self, ListFlags, Sweep};
use trainer::system::progress::{print, say};
use trainer::system::ranks::Ranks;
use trainer::tasks::Half;
use trainer::train::checkpoint::Checkpoint;
use trainer::train::device::Device;
use trainer::train::{Folder, Found, Start, Watch, dismiss, follow, plan_text, train};

/// Restores half-cropped images with a residual convolutional encoder/decoder: trains it on Fashion-MNIST, validates it, uses it
#[derive(Debug, Parser)]
#[command(name = "resconv", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const SEVERAL_PROCESSES: &str = "\
Several processes train one network with the same result, to rounding, if mpirun starts them:
  cargo build --release --features mpi
  mpirun -n 4 target/release/resconv train --threads 2
Tested on CPUs; neither this nor its GPU sums by NCCL (--features nccl) have run on GPUs.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network, and write its weights, its loss curve and its pictures to a folder
    #[command(args_override_self = true, after_help = SEVERAL_PROCESSES)]
    Train(Box<TrainArgs>),
    /// Run a matrix of settings; repeated, it goes on with what is not done
    Sweep(Box<SweepArgs>),
    /// Renew the report of a run or a sweep, or write one of several runs
    Report(ReportArgs),
    /// Print both validation losses of a checkpoint
    Eval(Box<EvalArgs>),
    /// Write a trained network as an ONNX file
    Export(Box<ExportArgs>),
    /// Restore the missing half of images
    Restore(Box<RestoreArgs>),
    /// Tell where the dataset is, check it against its published checksums, and fetch it if there is none
    Data(DataArgs),
    /// Check the gradients of every operation, on every instruction set and with every algorithm
    Gradcheck(gradcheck::GradcheckArgs),
    /// Time a training step, or the passes of convolutions
    #[command(subcommand)]
    Profile(profile::ProfileCommand),
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// TOML file of settings, such as the settings.toml of a run; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A small network and few images: a picture after about a minute on two cores
    #[arg(long)]
    quick: bool,
    /// Go on from the newest good checkpoint in the run folder, with the settings of its run; begin the run if there is none yet
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Overwrite what an earlier run left in the run folder
    #[arg(long)]
    force: bool,
    /// Print the network, every step of the training plan with its shapes and memory, and stop
    #[arg(long)]
    print_plan: bool,
    #[command(flatten)]
    settings: SettingsFlags,
}

#[derive(Debug, Args)]
struct SweepArgs {
    /// TOML file of the matrix; the settings' flags win over it, and may list several values: --layers 1,2,3
    file: PathBuf,
    /// Print the runs with their parameters, memory and estimated times, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: ListFlags,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// Folders of runs, and of sweeps
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Folder for report.html, table.md, table.csv and the plots [default: the run's or the sweep's]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Heading [default: the sweep's, or the folder's name]
    #[arg(long)]
    title: Option<String>,
    /// CSV file of published results, such as those in trainer/reference [default: the sweep's]
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
}

/// How to make a network of a file of weights.
#[derive(Debug, Args)]
struct ModelArgs {
    /// For weights without settings: where the settings come from that shapes do not tell [default: default]
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    #[command(flatten)]
    network: NetworkFlags,
    /// Height and width of the images that the network sees, in pixels [default: the checkpoint's, or 32]
    #[arg(long, help_heading = "Network")]
    size: Option<usize>,
    /// What computes: auto, cpu, cuda, cuda:N or reference, as in training [default: auto]
    #[arg(long, help_heading = "Run")]
    device: Option<Device>,
    /// Convolve on the GPU's tensor cores, as in training
    #[arg(long, help_heading = "Run")]
    tf32: bool,
    /// Threads that compute; 0 for one a core [default: 0]
    #[arg(long, help_heading = "Run")]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct EvalArgs {
    /// Checkpoint of a run, or a PyTorch state_dict saved by safetensors
    checkpoint: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Write where the network errs, by pixel and by class, to this JSON file
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// Images a batch, for batch statistics [default: the checkpoint's, or 64]
    #[arg(long, help_heading = "Run")]
    batch: Option<usize>,
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    data: Option<PathBuf>,
    /// Take dataset files whose checksums are not the published ones
    #[arg(long, help_heading = "Run")]
    unverified_data: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// Checkpoint of a run, or a PyTorch state_dict saved by safetensors
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
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    data: Option<PathBuf>,
    /// Take dataset files whose checksums are not the published ones
    #[arg(long, help_heading = "Run")]
    unverified_data: bool,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// Checkpoint of a run, or a PyTorch state_dict saved by safetensors
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

#[derive(Debug, Args)]
struct DataArgs {
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Does what the command line says.
///
/// Of several ranks, the others follow the one that leads.
pub(crate) fn run(cli: Cli, ranks: &Ranks) -> anyhow::Result<()> {
    if !ranks.is_leader() {
        return Ok(follow(ranks)?);
    }
    if ranks.count() > 1 && !matches!(cli.command, Command::Train(_)) {
        anyhow::bail!("only `resconv train` runs in several processes: start this command without mpirun");
    }
    match cli.command {
        Command::Train(args) => run_train(&args, ranks),
        Command::Sweep(args) => run_sweep(*args),
        Command::Report(args) => run_report(args),
        Command::Eval(args) => run_eval(*args),
        Command::Export(args) => run_export(*args),
        Command::Restore(args) => run_restore(*args),
        Command::Data(args) => run_data(args),
        Command::Gradcheck(args) => gradcheck::run(args),
        Command::Profile(command) => profile::run(command),
    }
}

/// Writes a line for people in front of a terminal, beside the result of a command that takes its time.
fn tell_those_who_wait(line: &str) {
    let mut err = io::stderr();
    if err.is_terminal() {
        // Whether somebody reads it makes no difference to the result.
        let _ = writeln!(err, "{line}");
    }
}

fn run_train(args: &TrainArgs, ranks: &Ranks) -> anyhow::Result<()> {
    let mut layers = vec![Layer::flags(&args.settings)?];
    if let Some(path) = &args.config {
        layers.push(Layer::file(path)?);
    }
    let chosen = layers.len();
    if args.quick {
        layers.push(Layer::quick());
    }
    let mut settings = resolve(&layers)?;
    let mut start = if args.force { Start::Overwrite } else { Start::New };
    if args.resume {
        let out = settings.out();
        let found = Folder::new(&out).resume(&|line| say(line))?;
        let run = match &found {
            Found::Run(resumed) => resumed.checkpoint.run.as_ref().map(|run| &run.settings),
            Found::Begun(settings) => Some(&**settings),
            Found::Nothing => None,
        };
        if let Some(run) = run {
            layers.insert(chosen, Layer::resumed(run)?);
        }
        settings = resolve(&layers)?;
        settings.run.out = Some(out.clone());
        start = match found {
            Found::Run(resumed) => Start::Resume(resumed),
            Found::Begun(_) => Start::Overwrite,
            Found::Nothing => Start::New,
        };
        if !matches!(start, Start::Resume(_)) {
            say(&format!("no checkpoint in {} yet: the run begins at its beginning", out.display()));
        }
    }
    if args.print_plan {
        print(plan_text(&settings, ranks)?.trim_end())?;
        dismiss(ranks);
        return Ok(());
    }
    let out = settings.out();
    let renew = || report::renew(&out);
    let summary = train(&settings, start, Watch { validated: Some(&renew), whole: None, ranks: ranks.clone() })?;
    renew();
    say(&format!("{summary}\n{:<28}{}", "written to", settings.out().display()));
    Ok(())
}

fn run_sweep(args: SweepArgs) -> anyhow::Result<()> {
    let SweepArgs { file, dry_run, mut settings } = args;
    let out = settings.take("out").and_then(|out| out.into_iter().next());
    let planned = Sweep::read(&file, &settings)?;
    let out = out.map_or_else(|| planned.default_out.clone(), PathBuf::from);
    if dry_run {
        return Ok(print(&sweep::dry_run(&planned, &out)?)?);
    }
    sweep::sweep(&planned, &out, &report::renew)?;
    say(&format!("\nall {} runs are done; the report is {}", planned.runs.len(), out.join("report.html").display()));
    Ok(())
}

fn run_report(args: ReportArgs) -> anyhow::Result<()> {
    let ReportArgs { folders, out, title, reference } = args;
    let path = report::write(&report::Request { folders, out, title, reference })?;
    Ok(print(&path.display().to_string())?)
}

fn run_eval(args: EvalArgs) -> anyhow::Result<()> {
    let EvalArgs { checkpoint, model, errors: errors_file, batch, data, unverified_data } = args;
    let run = RunFlags { data, unverified_data: Some(unverified_data), ..RunFlags::default() };
    let (checkpoint, settings) = open(&checkpoint, model, batch, run)?;
    let (validation, errors) = eval::evaluate(&settings, &checkpoint)?;
    if let Some(path) = errors_file {
        errors.write(&path)?;
    }
    print(&validation.to_string())?;
    Ok(())
}

fn run_export(args: ExportArgs) -> anyhow::Result<()> {
    let ExportArgs { checkpoint: path, out, example, force, model, data, unverified_data } = args;
    let run = RunFlags { data, unverified_data: Some(unverified_data), ..RunFlags::default() };
    let (checkpoint, settings) = open(&path, model, None, run)?;
    let out = out.unwrap_or_else(|| path.with_extension("onnx"));
    onnx::export(&settings, &checkpoint, &onnx::Request { out: out.clone(), example, overwrite: force })?;
    Ok(print(&out.display().to_string())?)
}

fn run_restore(args: RestoreArgs) -> anyhow::Result<()> {
    let RestoreArgs { checkpoint, images, missing, out, with_input, scale, force, model } = args;
    let (checkpoint, settings) = open(&checkpoint, model, None, RunFlags::default())?;
    let request = Request { images, missing, out, with_input, scale: scale.into(), overwrite: force };
    restore::restore(&settings, &checkpoint, &request, &mut |line| say(line))?;
    Ok(())
}

fn run_data(args: DataArgs) -> anyhow::Result<()> {
    let report = data::report(&data::Search::new(args.data), &|line| say(line))?;
    print(&report.to_string())?;
    Ok(())
}

/// Reads weights, and finds out the settings of their network: flags, then what the file says, then the preset.
fn open(path: &Path, model: ModelArgs, batch: Option<usize>, run: RunFlags) -> anyhow::Result<(Checkpoint, Settings)> {
    let ModelArgs { preset, network, size, device, tf32, threads } = model;
    let flags = SettingsFlags {
        preset,
        network,
        training: TrainingFlags { size, batch, ..TrainingFlags::default() },
        run: RunFlags { device, tf32: Some(tf32), threads, ..run },
    };
    let checkpoint = Checkpoint::read(path)?;
    let known = match &checkpoint.run {
        Some(run) => Layer::trained(&run.settings)?,
        None => {
            let architecture = checkpoint.architecture()?;
            architecture.assumptions.iter().for_each(|line| say(&format!("{}: {line}", path.display())));
            Layer::inferred(&architecture.network)?
        }
    };
    let settings = resolve(&[Layer::flags(&flags)?, known])?;
    Ok((checkpoint, settings))
}
