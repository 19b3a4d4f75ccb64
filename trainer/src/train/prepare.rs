//! What a run is going to compute, before its memory is allocated.

use super::backend::{self, with_backend};
use super::error::TrainError;
use super::plans::{NetworkPlan, PlanError, PlanKind, Plans};
use super::preview::Preview;
use super::ranks::check_batches;
use crate::apply::eval::Validator;
use crate::data::Dataset;
use crate::settings::Settings;
use crate::system::ranks::Ranks;
use engine::Element;

/// The plans of a run, before their memory is allocated.
pub(super) struct RunPlans<'a, E> {
    pub(super) plans: Plans,
    /// The plan for full batches, if there are any, and the one for a smaller last batch, if there is one.
    pub(super) steps: Vec<NetworkPlan>,
    pub(super) validator: Validator<'a, E>,
    pub(super) preview: Preview<E>,
}

impl<'a, E: Element + From<f32> + Default> RunPlans<'a, E> {
    /// The plans of a run with these settings on the rank that leads, with `validation` as its validation images.
    pub(super) fn new(
        settings: &Settings,
        validation: &'a Dataset,
        ranks: &Ranks,
    ) -> Result<RunPlans<'a, E>, PlanError> {
        let training = &settings.training;
        let mut plans = Plans::for_rank(&settings.network, training.size, ranks.clone())?;
        let steps = plans.cover(PlanKind::Training, training.batch, training.samples)?;
        let validator = Validator::new(&mut plans, validation, training.size, training.batch)?;
        let preview = Preview::new(&mut plans, validation, training.size, settings.run.picture_truth)?;
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
    check_batches(settings, ranks.count())?;
    let mut plans = Plans::for_rank(&settings.network, settings.training.size, ranks.clone())?;
    let step = plans.add(PlanKind::Training, settings.training.batch)?;
    let backend = backend::open(&settings.run, &mut |_| ())?;
    with_backend!(backend, |backend| {
        plans.limit_memory(&backend, settings.run.memory_limit)?;
        let (network, plan) = (plans.network(), plans.plan(&step));
        Ok(format!("{network}\n\n{plan}\n{}", plan.memory(&backend)))
    })
}
