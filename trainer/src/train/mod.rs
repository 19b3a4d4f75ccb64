//! The training run: from settings to a folder with a trained network, its curve and its pictures.
//!
//! The state of a run is the network's tensors, the optimizer's moments and a [`Position`]; everything else (learning rate, order
//! of the images, missing halves) is computed from the position and the settings. A checkpoint is that state, so a resumed run
//! goes on bit for bit as if it had not been interrupted.

pub mod checkpoint;
pub mod device;
mod estimate;
mod folder;
pub mod log;
pub mod plans;
mod preview;
mod run;
mod step;

pub use estimate::{Estimate, estimate};
pub use folder::{Folder, FolderError, Found, Lock, Resumed};

use crate::apply::eval::Validator;
use crate::data::{self, DataError, Dataset, FashionMnist};
use crate::output::plot::{Axis, LossCurve, PlotError, Point};
use crate::output::summary::{self, Machine, Study, Summary};
use crate::output::tensorboard::Events;
use crate::settings::{Layer, Settings, SettingsError, resolve};
use crate::system::files::{self, FileError};
use crate::system::progress::{self, Progress, Whole};
use crate::system::ranks::Ranks;
use crate::system::stop::{self, Signal};
use crate::tasks::TrainingBatches;
use checkpoint::{Checkpoint, CheckpointError, Position, RunState};
use device::{Compute, DeviceError, with_backend};
use engine::{Element, Session};
use log::Log;
use model::ResConv;
use plans::{Kind, Pass, PassError, Passes};
use preview::Preview;
use run::Run;
use std::path::{Path, PathBuf};
use std::time::Instant;
use step::Stepper;

const METRICS_HEADER: &str = "step,samples,lr,loss";
const VALIDATION_HEADER: &str = "step,samples,running,batch";

const MIB: f64 = (1 << 20) as f64;

/// Steps whose mean is the run's training loss.
const FINAL_STEPS: usize = 100;

/// How a run begins.
#[derive(Debug)]
pub enum Start {
    /// In a folder that is new or empty.
    New,
    /// In any folder; what an earlier run left in it is overwritten.
    Overwrite,
    /// Where a run in this folder stopped.
    Resume(Box<Resumed>),
}

/// What a caller wants of a run while it goes on, and with whom it computes. The default is nothing, and nobody.
#[derive(Default)]
pub struct Watch<'a> {
    /// Called after every validation, when the folder has its results.
    pub validated: Option<&'a (dyn Fn() + Sync)>,
    /// What the run is a part of, to be told beside its own progress.
    pub whole: Option<Whole>,
    /// The processes that compute it, of which this one leads; the others [`follow`].
    pub ranks: Ranks,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Settings that cannot be, or that differ from those of the run to resume.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The network or a plan cannot be made.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A checkpoint, or the weights to begin with, cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The loss curve cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A table has not the rows that the checkpoint's run wrote before it.
    #[error("{}: expected the rows of the checkpoint's first {expected} steps, got {got}", path.display())]
    Rows {
        /// The table.
        path: PathBuf,
        /// Rows that there should be.
        expected: u64,
        /// Rows that there are.
        got: u64,
    },
    /// The run was on another device.
    #[error("cannot resume with another device: the run was started on {had}, now it is {got}")]
    OtherDevice {
        /// The checkpoint's backend.
        had: String,
        /// This one.
        got: String,
    },
    /// A batch has not an image for each rank.
    #[error(
        "{ranks} ranks cannot share a batch of {images} images: there must be at least one for each; the batch is {batch}, \
         and of {samples} samples the last batch gets what is left: choose other --batch and --samples, or fewer ranks"
    )]
    FewImages {
        /// Ranks.
        ranks: usize,
        /// Images of the smallest batch.
        images: u64,
        /// Images of the others.
        batch: usize,
        /// Images of all.
        samples: u64,
    },
    /// Ranks that do not compute alike.
    #[error(
        "rank {rank} computes on {got}, rank 0 on {expected}: ranks that round in different ways do not keep the same weights; \
         choose the same with --device and, for instruction sets, KERNELS_ISA"
    )]
    OtherBackend {
        /// The first rank that differs from rank 0.
        rank: usize,
        /// Rank 0's backend.
        expected: String,
        /// The other.
        got: String,
    },
    /// Ranks whose weights have become different.
    #[error(
        "after step {step}, rank {rank} has other weights than rank 0: a fault of its machine, or a bug; go on from the last checkpoint"
    )]
    RanksDiffer {
        /// The first rank that differs from rank 0.
        rank: usize,
        /// Steps done.
        step: u64,
    },
    /// Training diverged.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// A signal asked for it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Signals cannot be caught.
    #[error("could not prepare for signals: {0}")]
    Signals(std::io::Error),
    /// A file could not be written while the run went on.
    #[error("{cause}; {}{}", kept(checkpoint.as_deref()), go_on(checkpoint.as_deref(), out))]
    Broken {
        /// What failed.
        cause: Box<TrainError>,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
        /// The run's folder.
        out: PathBuf,
    },
}

/// The loss, a gradient or the optimizer's state is no number that training could go on with.
#[derive(Debug, thiserror::Error)]
#[error("{}: try a lower --lr; {}", self.place(), kept(checkpoint.as_deref()))]
pub struct NotFinite {
    /// What became NaN or infinite, as the beginning of a sentence.
    pub what: String,
    /// The step, counted from 1.
    pub step: u64,
    /// Images seen with it.
    pub samples: u64,
    /// Where the first such value of the step came from.
    pub origin: Option<engine::NonFinite>,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl NotFinite {
    /// What happened, and where.
    fn place(&self) -> String {
        let NotFinite { what, step, samples, origin, .. } = self;
        let origin = origin.as_ref().map_or(String::new(), |origin| format!(", first {origin}"));
        format!("{what} at step {step} ({samples} images){origin}")
    }
}

/// The run was asked to stop, and can be resumed.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {signal} after step {step} ({samples} images); go on with `resconv train --resume --out {}`", out.display())]
pub struct Stopped {
    /// What asked.
    pub signal: Signal,
    /// Steps done.
    pub step: u64,
    /// Images seen.
    pub samples: u64,
    /// The run's folder, which has a checkpoint of this step.
    pub out: PathBuf,
}

fn kept(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}

fn go_on(checkpoint: Option<&Path>, out: &Path) -> String {
    checkpoint.map_or(String::new(), |_| format!("; go on with `resconv train --resume --out {}`", out.display()))
}

impl TrainError {
    /// Whether every rank of the run has this error, so that it is enough if one tells it.
    pub fn is_of_all_ranks(&self) -> bool {
        use TrainError::{NotFinite, OtherBackend, RanksDiffer, Stopped};
        matches!(self, NotFinite(_) | Stopped(_) | OtherBackend { .. } | RanksDiffer { .. })
    }
}

/// Runs a training run to its end, telling on standard output how it gets on.
///
/// # Errors
/// [`TrainError`]. Nothing is written before data, device, network and memory are there; after that, the folder keeps what was
/// written last, and the run can be resumed from its last checkpoint.
pub fn train(settings: &Settings, start: Start, watch: Watch<'_>) -> Result<Summary, TrainError> {
    check_start(settings, &start)?;
    device::check((&settings.run).into())?;
    let data = data::load(&settings.search(), &|line| progress::say(line))?;
    train_with(settings, start, &data, watch)
}

/// As [`train`], with a dataset that is there already.
///
/// # Errors
/// As [`train`].
pub fn train_with(
    settings: &Settings,
    start: Start,
    data: &FashionMnist,
    watch: Watch<'_>,
) -> Result<Summary, TrainError> {
    check_start(settings, &start)?;
    check_parts(settings, watch.ranks.count())?;
    announce(&watch.ranks, settings, &data.train)?;
    let chosen = device::choose_of(watch.ranks.local_rank(), settings, &mut progress::say)?;
    let folder = Folder::new(&settings.out());
    with_backend!(chosen, |backend| train_on(backend, settings, &folder, start, data, watch))
}

/// Computes what a rank that does not lead has to of the run that rank 0 trains. Returns when that has ended, or if there is none.
///
/// # Errors
/// [`TrainError`].
pub fn follow(ranks: &Ranks) -> Result<(), TrainError> {
    let text = ranks.broadcast(Vec::new());
    if text.is_empty() {
        return Ok(());
    }
    let [pixels, labels] = [(); 2].map(|()| ranks.broadcast(Vec::new()));
    let data = Dataset::new(pixels, labels);
    let settings = resolve(&[Layer::text(Path::new("the settings of rank 0"), &String::from_utf8_lossy(&text))?])?;
    let chosen = device::choose_of(ranks.local_rank(), &settings, &mut |_| ())?;
    with_backend!(chosen, |backend| follow_on(backend, &settings, ranks, &data))
}

/// Lets the ranks that [`follow`] go: there is nothing to train.
pub fn dismiss(ranks: &Ranks) {
    ranks.broadcast(Vec::new());
}

/// Sends settings and images to the ranks that [`follow`].
fn announce(ranks: &Ranks, settings: &Settings, images: &Dataset) -> Result<(), TrainError> {
    if ranks.count() > 1 {
        ranks.broadcast(settings.to_toml()?.into_bytes());
        ranks.broadcast(images.pixels().to_vec());
        ranks.broadcast(images.labels().to_vec());
    }
    Ok(())
}

fn follow_on<B: Compute>(backend: B, settings: &Settings, ranks: &Ranks, images: &Dataset) -> Result<(), TrainError> {
    let training = &settings.training;
    check_backends(ranks, &backend.name())?;
    let mut passes = Passes::of_rank(&settings.network, training.size, ranks.clone())?;
    let steps = passes.cover(Kind::Training, training.batch, training.samples)?;
    passes.limit_memory(&backend, settings.run.memory_limit)?;
    let mut session = passes.session(backend)?;
    stop::catch_signals().map_err(TrainError::Signals)?;
    let checkpoint = Checkpoint::from_bytes(Path::new("the state of rank 0"), &ranks.broadcast(Vec::new()))?;
    let position = run_of(&checkpoint)?.position.clone();
    let batches = checkpoint::load_weights(&mut session, &checkpoint)?;
    checkpoint::load_optimizer(&mut session, &checkpoint, position.updates())?;
    let before = batches.saturating_sub(position.updates());
    let batches = TrainingBatches::new(images, training.size, training.seed);
    let mut stepper = Stepper::new(settings, ranks.clone(), batches, steps, position, before);
    session.enter(|session| stepper.follow(session))
}

/// # Errors
/// [`TrainError::FewImages`] if a batch has fewer images than there are ranks.
fn check_parts(settings: &Settings, ranks: usize) -> Result<(), TrainError> {
    let (batch, samples) = (settings.training.batch, settings.training.samples);
    let rest = samples % batch as u64;
    let images = if rest > 0 { rest } else { batch as u64 };
    if images < ranks as u64 { Err(TrainError::FewImages { ranks, images, batch, samples }) } else { Ok(()) }
}

/// Longest name of a backend, in bytes.
const NAME_BYTES: usize = 64;

/// # Errors
/// [`TrainError::OtherBackend`], on every rank.
fn check_backends(ranks: &Ranks, own: &str) -> Result<(), TrainError> {
    let mut name = [0; NAME_BYTES];
    name.iter_mut().zip(own.bytes()).for_each(|(to, byte)| *to = byte);
    let names = ranks.gather(name);
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    match names.iter().position(|name| *name != names[0]) {
        Some(rank) => Err(TrainError::OtherBackend { rank, expected: text(&names[0]), got: text(&names[rank]) }),
        None => Ok(()),
    }
}

fn check_start(settings: &Settings, start: &Start) -> Result<(), TrainError> {
    match start {
        Start::New => Folder::new(&settings.out()).check_new()?,
        Start::Overwrite => {}
        Start::Resume(resumed) => settings.check_resumes(&run_of(&resumed.checkpoint)?.settings)?,
    }
    Ok(())
}

/// The network as PyTorch prints it, every step of the training plan of the rank that leads, and the memory that it takes, as text.
///
/// # Errors
/// [`TrainError`] if a batch has fewer images than there are ranks, there is no such device, or the network cannot be made.
pub fn plan_text(settings: &Settings, ranks: &Ranks) -> Result<String, TrainError> {
    check_parts(settings, ranks.count())?;
    let mut passes = Passes::of_rank(&settings.network, settings.training.size, ranks.clone())?;
    let pass = passes.add(Kind::Training, settings.training.batch)?;
    let chosen = device::choose((&settings.run).into(), &mut |_| ())?;
    with_backend!(chosen, |backend| {
        passes.limit_memory(&backend, settings.run.memory_limit)?;
        let (network, plan) = (passes.network(), passes.plan(&pass));
        Ok(format!("{network}\n\n{plan}\n{}", plan.memory(&backend)))
    })
}

fn run_of(checkpoint: &Checkpoint) -> Result<&RunState, CheckpointError> {
    checkpoint.run.as_ref().ok_or_else(|| CheckpointError::NotResumable { path: checkpoint.path.clone() })
}

/// All that a run computes, planned and not yet allocated.
struct Prepared<'a, E> {
    passes: Passes,
    /// The pass over full batches, if there are any, and the one over a smaller last batch, if there is one.
    steps: Vec<Pass>,
    validator: Validator<'a, E>,
    preview: Preview<E>,
}

impl<'a, E: Element + From<f32> + Default> Prepared<'a, E> {
    /// What a run with these settings computes on the rank that leads, with `validation` as its validation images.
    fn new(settings: &Settings, validation: &'a Dataset, ranks: &Ranks) -> Result<Prepared<'a, E>, PassError> {
        let training = &settings.training;
        let mut passes = Passes::of_rank(&settings.network, training.size, ranks.clone())?;
        let steps = passes.cover(Kind::Training, training.batch, training.samples)?;
        let validator = Validator::new(&mut passes, validation, training.size, training.batch)?;
        let preview = Preview::new(&mut passes, validation, training.size, settings.run.picture_truth)?;
        Ok(Prepared { passes, steps, validator, preview })
    }
}

fn train_on<B: Compute>(
    backend: B,
    settings: &Settings,
    folder: &Folder,
    start: Start,
    data: &FashionMnist,
    watch: Watch<'_>,
) -> Result<Summary, TrainError> {
    let training = &settings.training;
    let ranks = &watch.ranks;
    check_backends(ranks, &backend.name())?;
    let Prepared { mut passes, steps, validator, preview } = Prepared::new(settings, &data.validation, ranks)?;
    passes.limit_memory(&backend, settings.run.memory_limit)?;
    let (again, flops) = passes.plan(&steps[0]).recomputed();
    let (device, threads) = (backend.name(), backend.threads());
    let parameters = passes.network().parameter_count();
    progress::say(&format!("network  {}", describe(passes.network())));
    progress::say(&format!("data     {}", data.folder));
    if ranks.count() > 1 {
        progress::say(&format!("ranks    {}, each with a part of every batch", ranks.count()));
    }
    let mut session = passes.session(backend)?;
    let memory = session.memory().total();
    let mut line = format!("memory   {:.0} MiB for batches of {}", memory as f64 / MIB, steps[0].batch);
    if again > 0 && settings.run.memory_limit > 0 {
        line += &format!("; {again} steps run again to save memory, {:.0} % of the convolutions' work", flops * 100.0);
    }
    progress::say(&line);
    let (position, batches_before) = begin(&mut session, settings, &start, &device)?;
    let text = settings.to_toml()?;
    stop::catch_signals().map_err(TrainError::Signals)?;
    let (newest, lock) = match start {
        Start::New => (None, folder.start(true, &text)?),
        Start::Overwrite => (None, folder.start(false, &text)?),
        Start::Resume(resumed) => {
            files::write_bytes(&folder.settings(), text.as_bytes())?;
            (Some((resumed.checkpoint.path.clone(), position.step)), resumed.lock)
        }
    };
    let Logs { metrics, validations, best } = logs(folder, &position, newest.is_some())?;
    let events = events(folder, &position, newest.is_some())?;
    let progress = Progress::new(position.samples, training.samples, watch.whole);
    let batches = TrainingBatches::new(&data.train, training.size, training.seed);
    let stepper = Stepper::new(settings, ranks.clone(), batches, steps, position, batches_before);
    if ranks.count() > 1 {
        ranks.broadcast(stepper.checkpoint(&session, PathBuf::new())?.to_bytes()?);
    }
    let mut run = Run {
        stepper,
        folder,
        validator,
        preview,
        metrics,
        validations,
        events,
        flushed: Instant::now(),
        progress,
        validated: watch.validated,
        newest,
        saved: Instant::now(),
        best,
    };
    let validation = session.enter(|session| {
        let validation = run.finish(session)?;
        let model = checkpoint::state_dict(session, run.stepper.batches_seen())?;
        Checkpoint { path: folder.model(), tensors: model, run: None }.write()?;
        Ok(validation)
    });
    let validation = validation.map_err(|error| broken(error, run.last_checkpoint(), folder))?;
    let position = run.stepper.position;

    let rows = log::read::<4>(&folder.metrics())?;
    // Steps that were skipped may have no loss.
    let losses: Vec<f64> = rows.iter().map(|[.., loss]| *loss).filter(|loss| loss.is_finite()).collect();
    let last = &losses[losses.len().saturating_sub(FINAL_STEPS)..];
    let summary = Summary {
        layers: settings.network.layers,
        parameters,
        steps: position.step,
        samples: position.samples,
        skipped_steps: position.skipped,
        training_loss: last.iter().sum::<f64>() / last.len() as f64,
        validation,
        minutes: position.seconds / 60.0,
        images_per_second: position.samples as f64 / position.seconds,
        peak_resident_bytes: summary::peak_resident_bytes(),
        planned_bytes: memory,
        device,
        threads,
        ranks: ranks.count(),
        machine: Some(Machine::this()),
        study: Study::of(settings),
    };
    draw_curve(folder, settings, &rows)?;
    let json = serde_json::to_string_pretty(&summary).map_err(std::io::Error::from);
    let json = json.map_err(FileError::at("write", &folder.summary()))?;
    files::write_bytes(&folder.summary(), format!("{json}\n").as_bytes())?;
    drop(lock);
    Ok(summary)
}

fn describe(network: &ResConv) -> String {
    let (layers, parameters) = (network.config().layers, network.parameter_count());
    format!("layers: {layers}, parameters: {parameters}, receptive field: {} pixels", network.receptive_field())
}

/// Gives the session its first weights, or those of the checkpoint. Returns the run's position, and how many batches the running
/// statistics had seen before the run.
fn begin<B: Compute>(
    session: &mut Session<B>,
    settings: &Settings,
    start: &Start,
    device: &str,
) -> Result<(Position, u64), TrainError> {
    session.initialize(settings.training.seed);
    if let Start::Resume(resumed) = start {
        let checkpoint = &resumed.checkpoint;
        let position = run_of(checkpoint)?.position.clone();
        let kind = |backend: &str| backend.split('-').next().map(str::to_owned);
        if kind(&position.backend) != kind(device) {
            return Err(TrainError::OtherDevice { had: position.backend, got: device.to_owned() });
        }
        if position.backend != device {
            progress::say(&format!(
                "the run was started on {}, now it is {device}: the numbers will differ by rounding",
                position.backend
            ));
        }
        let batches = checkpoint::load_weights(session, checkpoint)?;
        checkpoint::load_optimizer(session, checkpoint, position.updates())?;
        let Position { step, samples, .. } = position;
        progress::say(&format!("resuming after step {step} ({samples} images) from {}", checkpoint.path.display()));
        let before = batches.saturating_sub(position.updates());
        return Ok((Position { backend: device.to_owned(), ..position }, before));
    }
    let batches = match &settings.training.init {
        Some(path) => checkpoint::load_weights(session, &Checkpoint::read(path)?)?,
        None => 0,
    };
    Ok((Position { step: 0, samples: 0, seconds: 0.0, skipped: 0, backend: device.to_owned() }, batches))
}

/// The tables of a run.
struct Logs {
    metrics: Log,
    validations: Log,
    /// The lowest validation loss in them, with running statistics.
    best: Option<f64>,
}

/// The tables of a run at `position`: new, or those that are there without the rows that came later.
fn logs(folder: &Folder, position: &Position, resumed: bool) -> Result<Logs, TrainError> {
    if !resumed {
        let metrics = Log::create(&folder.metrics(), METRICS_HEADER)?;
        let validations = Log::create(&folder.validation(), VALIDATION_HEADER)?;
        return Ok(Logs { metrics, validations, best: None });
    }
    let (metrics, rows) = Log::resume(&folder.metrics(), METRICS_HEADER, |step| step <= position.step)?;
    if rows != position.step {
        return Err(TrainError::Rows { path: folder.metrics(), expected: position.step, got: rows });
    }
    // The validation at the checkpoint's step comes after the checkpoint, so it is done again.
    let (validations, _) = Log::resume(&folder.validation(), VALIDATION_HEADER, |step| step < position.step)?;
    let rows = log::read::<4>(&folder.validation())?;
    let best = rows.iter().map(|[_, _, running, _]| *running).filter(|loss| loss.is_finite()).reduce(f64::min);
    Ok(Logs { metrics, validations, best })
}

/// TensorBoard's file of this process. What the process before wrote from the position's step on is void: its validation is done again,
/// and the step itself is repeated here.
fn events(folder: &Folder, position: &Position, resumed: bool) -> Result<Events, TrainError> {
    let mut events = Events::create(folder.path(), resumed.then_some(position.step))?;
    if let Some([step, _, lr, loss]) = log::read::<4>(&folder.metrics())?.last().copied() {
        events.scalars(step as u64, &[(run::TRAINING_LOSS, loss as f32), (run::LEARNING_RATE, lr as f32)])?;
    }
    Ok(events)
}

/// The error of a run that went on, with what can be done about it, if a file was the reason.
fn broken(error: TrainError, checkpoint: Option<&Path>, folder: &Folder) -> TrainError {
    match error {
        TrainError::File(_) | TrainError::Checkpoint(CheckpointError::File(_)) => TrainError::Broken {
            cause: Box::new(error),
            checkpoint: checkpoint.map(Path::to_owned),
            out: folder.path().to_owned(),
        },
        other => other,
    }
}

fn draw_curve(folder: &Folder, settings: &Settings, rows: &[[f64; 4]]) -> Result<(), TrainError> {
    let finite = |point: &Point| point.1.is_finite();
    let training: Vec<Point> =
        rows.iter().map(|[_, samples, _, loss]| (*samples as u64, *loss)).filter(finite).collect();
    let validations = log::read::<4>(&folder.validation())?;
    let of = |column: usize| {
        validations.iter().map(|row| (row[1] as u64, row[column])).filter(finite).collect::<Vec<Point>>()
    };
    let (running, batch) = (of(2), of(3));
    let title = format!("{} layers, preset {}", settings.network.layers, settings.preset);
    let curve = LossCurve {
        title: &title,
        loss: "L1 loss",
        training: &training,
        validation: &[("validation, running statistics", &running), ("validation, batch statistics", &batch)],
        reference: Study::of(settings).map(|study| ("study", study.validation_loss)),
        axis: Axis::default(),
    };
    curve.save_png(&folder.curve_png())?;
    curve.save_svg(&folder.curve_svg())?;
    Ok(())
}
