//! What a run is going to compute and to cost.

use super::backend::{self, ImageBackend, with_backend};
use super::error::TrainError;
use super::pace::Pace;
use super::plans::{NetworkPlan, PlanKind, Plans};
use super::ranks::check_batches;
use super::step::images_to_plan;
use crate::data::{Dataset, Fit, SIDE, TEST_IMAGES};
use crate::settings::Settings;
use crate::system::ranks::Ranks;
use crate::tasks::Samples;
use crate::validation::{Preview, Validator};
use engine::Element;
use std::time::{Duration, Instant};

/// Images of the run's picture: four groups of rows of eight.
const PREVIEW_IMAGES: usize = 32;

/// The plans of a run, before their memory is allocated.
pub(super) struct RunPlans<'a, E> {
    pub(super) plans: Plans,
    /// The plan for full batches, if there are any, and the one for a smaller last batch, if there is one.
    pub(super) steps: Vec<NetworkPlan>,
    pub(super) validator: Validator<'a, E>,
    pub(super) preview: Preview<E>,
}

impl<'a, E: Element + From<f32> + Default> RunPlans<'a, E> {
    /// The plans of a run with these settings that has seen so many images, on the rank that leads. It is validated
    /// with `validation`.
    pub(super) fn new(
        settings: &Settings,
        seen: u64,
        validation: Samples<'a>,
        ranks: &Ranks,
    ) -> Result<RunPlans<'a, E>, TrainError> {
        let training = &settings.training;
        let mut plans = Plans::for_rank(settings, ranks.clone())?;
        let steps = plans.cover(PlanKind::Training, training.batch, images_to_plan(settings, seen))?;
        let validator = Validator::new(&mut plans, validation, settings)?;
        let preview = Preview::new(&mut plans, validation, PREVIEW_IMAGES, settings.run.picture_truth)?;
        Ok(RunPlans { plans, steps, validator, preview })
    }
}

/// The network as PyTorch prints it, every step of the training plan of the rank that leads, and the memory that it
/// takes.
///
/// # Errors
/// [`TrainError`] if a batch has fewer images than there are ranks, the device cannot be used, or the network cannot be
/// made.
pub fn plan_text(settings: &Settings, ranks: &Ranks) -> Result<String, TrainError> {
    check_batches(settings, 0, ranks.count())?;
    let mut plans = Plans::for_rank(settings, ranks.clone())?;
    let step = plans.add(PlanKind::Training, settings.training.batch)?;
    let backend = backend::open(&settings.run, &mut |_| ())?;
    with_backend!(backend, |backend| {
        plans.limit_memory(&backend, settings.run.memory_limit)?;
        let (network, plan) = (plans.network(), plans.plan(&step));
        Ok(format!("{network}\n\n{plan}\n{}", plan.memory(&backend)))
    })
}

/// Size and cost of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    /// Trained parameters.
    pub parameters: usize,
    /// Memory that the plans take, all together, in bytes.
    pub planned_bytes: usize,
    /// Time of the whole run, validations included.
    pub duration: Duration,
}

/// Steps that are timed. The first one does not count if there is another.
const STEPS: usize = 3;
/// Once the steps took this long, no more are timed.
const LONG: Duration = Duration::from_secs(1);

/// Plans a run and times a few of its steps on made-up pixels. No file is read or written.
///
/// # Errors
/// [`TrainError`] if the device cannot be used, the network cannot be made, or there is not enough memory.
pub(crate) fn estimate(settings: &Settings) -> Result<Estimate, TrainError> {
    let images = TEST_IMAGES.dims[0] as usize;
    let pixels = vec![0; images * SIDE * SIDE * settings.network.out_channels];
    let validation = Dataset::of_equal_size(pixels, [SIDE; 2], settings.network.out_channels);
    let Settings { training, .. } = settings;
    let samples = Samples { images: &validation, size: training.size, fit: Fit::Resize, task: &training.task };
    let backend = backend::open(&settings.run, &mut |_| ())?;
    with_backend!(backend, |backend| measure(backend, settings, samples))
}

fn measure<B: ImageBackend>(backend: B, settings: &Settings, validation: Samples<'_>) -> Result<Estimate, TrainError> {
    let RunPlans { mut plans, steps, validator, .. } =
        RunPlans::<B::Element>::new(settings, 0, validation, &Ranks::default())?;
    plans.limit_memory(&backend, settings.run.memory_limit)?;
    let parameters = plans.network().parameter_count();
    let mut session = plans.session(backend)?;
    let planned_bytes = session.memory().total();
    session.initialize(settings.training.seed);
    let step = &steps[0];
    let [input, target] = validation.elements().map(|elements| {
        let elements = step.images.len() * elements;
        (0..elements).map(|i| B::Element::from((i % 7) as f32 / 7.0)).collect::<Vec<_>>()
    });
    let mut pace = Pace::new(settings, validator.images());
    session.enter(|session| -> engine::Result<()> {
        let begun = Instant::now();
        for _ in 0..STEPS {
            let started = Instant::now();
            let loss = step.train(session, &input, &target)?;
            pace.stepped(step.batch, started.elapsed(), loss, 0);
            if begun.elapsed() > LONG {
                break;
            }
        }
        Ok(())
    })?;
    Ok(Estimate { parameters, planned_bytes, duration: pace.time_from(0) })
}
