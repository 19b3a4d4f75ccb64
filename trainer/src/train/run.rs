//! A training run from its start to its end, on the rank that leads.

use super::backend::{self, ImageBackend, with_backend};
use super::checkpoint::{self, Checkpoint, RunState};
use super::error::TrainError;
use super::finish::{Resources, Results, study, write_results};
use super::folder::RunFolder;
use super::live::Live;
use super::plans::{NetworkPlan, Plans};
use super::prepare::RunPlans;
use super::ranks::{check_backends, check_batches, send_run};
use super::records::Records;
use super::start::{Start, check_start, load_start};
use super::step::Stepper;
use super::training_loop::{Display, TrainingLoop};
use crate::data::{self, Data};
use crate::output::summary::Summary;
use crate::settings::Settings;
use crate::system::files;
use crate::system::machine::Others;
use crate::system::progress::{Progress, SweepPosition};
use crate::system::ranks::Ranks;
use crate::system::stop;
use crate::system::terminal::print_status;
use crate::tasks::{Samples, TrainingBatches};
use engine::mib;
use std::path::PathBuf;
use std::time::Instant;

/// What a run belongs to. The default is a single run of this process alone.
#[derive(Default)]
pub struct RunContext<'a> {
    /// Called when the folder has new results to show: soon after the beginning, then every half a minute, and after
    /// every validation.
    pub on_results: Option<&'a (dyn Fn() + Sync)>,
    /// The sweep that the run belongs to, for the display of the progress.
    pub sweep: Option<SweepPosition>,
    /// The processes that compute it, of which this one leads. The others are in
    /// [`train_as_follower`](super::train_as_follower).
    pub ranks: Ranks,
}

/// Trains to the end, and shows the progress on standard output.
///
/// # Errors
/// [`TrainError`]. Nothing is written before data, device, network and memory are available. After that, the folder
/// keeps what was written last, and the run can be resumed from its last checkpoint.
pub fn train(settings: &Settings, start: Start, context: RunContext<'_>) -> Result<Summary, TrainError> {
    check_start(settings, &start)?;
    backend::check(&settings.run)?;
    let data = data::open(&settings.data_request(), &print_status)?;
    train_with(settings, start, &data, context)
}

/// As [`train`], with a dataset that is loaded already.
///
/// # Errors
/// As [`train`].
pub fn train_with(
    settings: &Settings,
    start: Start,
    data: &Data,
    context: RunContext<'_>,
) -> Result<Summary, TrainError> {
    let settings = &settings.with_data(data)?;
    check_start(settings, &start)?;
    let seen = start.samples()?;
    check_batches(settings, seen, context.ranks.count())?;
    send_run(&context.ranks, settings, data, seen)?;
    let backend = backend::open_for_rank(context.ranks.local_rank(), settings, &mut print_status)?;
    with_backend!(backend, |backend| train_on(backend, settings, start, data, context))
}

fn train_on<B: ImageBackend>(
    backend: B,
    settings: &Settings,
    start: Start,
    data: &Data,
    context: RunContext<'_>,
) -> Result<Summary, TrainError> {
    let (training, ranks) = (&settings.training, &context.ranks);
    check_backends(ranks, &backend.name())?;
    let [samples, validation] = Samples::of(data, training.size, &training.task);
    let RunPlans { mut plans, steps, validator, preview } =
        RunPlans::new(settings, start.samples()?, validation, ranks)?;
    plans.limit_memory(&backend, settings.run.memory_limit)?;
    print_status(&format!("network  {}", describe(&plans, training.size)));
    print_status(&format!("data     {}", data.description));
    if ranks.count() > 1 {
        print_status(&format!("ranks    {}, each with a part of every batch", ranks.count()));
    }
    let recomputed = recomputed(&plans, &steps[0], settings);
    let mut resources = Resources {
        parameters: plans.network().parameter_count(),
        backend: backend.name(),
        threads: backend.threads(),
        ranks: ranks.count(),
        planned_bytes: 0,
        others_share: None,
    };
    let mut session = plans.session(backend)?;
    resources.planned_bytes = session.memory().total();
    let memory = mib(resources.planned_bytes);
    print_status(&format!("memory   {memory:.0} MiB for batches of {}{recomputed}", steps[0].batch));
    let (position, batches_before) = load_start(&mut session, settings, &start, &resources.backend)?;
    stop::catch_signals().map_err(TrainError::Signals)?;
    let folder = &RunFolder::new(&settings.out());
    let text = settings.to_toml_of_folder()?;
    let (newest, lock) = match start {
        Start::New(lock) => (None, folder.start(true, lock, &text)?),
        Start::Overwrite(lock) => (None, folder.start(false, lock, &text)?),
        Start::Resume(resumed) => {
            files::write_bytes(&folder.settings(), text.as_bytes())?;
            files::remove(&folder.failure())?;
            if position.samples < training.samples {
                // That of a run that was shorter.
                files::remove(&folder.summary())?;
            }
            files::remove(&folder.live())?;
            (Some((resumed.checkpoint.path.clone(), position.step)), resumed.lock)
        }
    };
    let records = Records::open(folder, settings, &position, newest.is_some())?;
    let progress = Progress::new(position.samples, training.samples, context.sweep);
    let batches = TrainingBatches::new(samples, training.seed, training.augment);
    let stepper = Stepper::new(settings, ranks.clone(), batches, steps, position, batches_before);
    if ranks.count() > 1 {
        ranks.broadcast(stepper.checkpoint(&session, PathBuf::new())?.to_bytes()?);
    }
    let mut run = TrainingLoop {
        stepper,
        folder,
        lock: &lock,
        validator,
        preview,
        records,
        flushed: Instant::now(),
        progress,
        early_stop: None,
        study: study(settings, data),
        on_results: context.on_results,
        display: Display::default(),
        live: Live::default(),
        newest,
        saved: Instant::now(),
        has_remarked: false,
    };
    let others = Others::watch();
    let validation = session.enter(|session| {
        let validation = run.run(session)?;
        folder.check_lock(&lock)?;
        let model = checkpoint::state_dict(session, run.stepper.batches_seen())?;
        let run = Some(RunState::of_weights(settings));
        Checkpoint { path: folder.model(), tensors: model, run }.write()?;
        Ok(validation)
    });
    resources.others_share = others.filter(|_| ranks.count() == 1).and_then(|others| others.share());
    let validation = validation.map_err(|error: TrainError| {
        let error = error.of_begun_run(run.last_checkpoint(), folder.path());
        if !matches!(error, TrainError::Stopped(_)) {
            // The error itself says more than that this cannot be written.
            let _ = folder.write_failure(&error.to_string());
        }
        error
    })?;
    run.records.events.ended(run.stepper.position.step)?;
    run.records.events.flush()?;
    let results = Results { validation, early_stop: run.early_stop, study: run.study };
    write_results(folder, settings, &run.stepper.position, results, resources)
}

fn describe(plans: &Plans, size: usize) -> String {
    let network = plans.network();
    let (layers, parameters, groups) = (network.config().layers, network.parameter_count(), network.config().groups);
    // From any pixel, it is no farther to the opposite edge than this.
    let field = match network.receptive_field() {
        field if field >= 2 * size - 1 => "the whole image".to_owned(),
        field => format!("{field} pixels"),
    };
    let groups = match (layers, groups) {
        (1, 2..) => format!("; --groups {groups} changes nothing, as one layer has no inner convolution"),
        _ => String::new(),
    };
    format!("layers: {layers}, parameters: {parameters}, receptive field: {field}{groups}")
}

/// What the memory limit costs in a training step, as the end of a line.
fn recomputed(plans: &Plans, step: &NetworkPlan, settings: &Settings) -> String {
    match plans.plan(step).recomputed() {
        (again, flops) if again > 0 && settings.run.memory_limit > 0 => {
            format!("; {again} steps run again to save memory, {:.0} % of the convolutions' work", flops * 100.0)
        }
        _ => String::new(),
    }
}
