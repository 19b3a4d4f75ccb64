//! The ranks that do not lead: what they get from rank 0, and the steps that they take with it.

use super::backend::{self, ImageBackend, with_backend};
use super::checkpoint::{self, Checkpoint};
use super::error::TrainError;
use super::plans::{PlanKind, Plans};
use super::ranks::check_backends;
use super::step::Stepper;
use crate::data::Dataset;
use crate::settings::{Settings, SettingsSource, resolve};
use crate::system::ranks::Ranks;
use crate::system::stop;
use crate::tasks::TrainingBatches;
use std::path::Path;

/// Trains on a rank that does not lead: takes its share of every step of the run that rank 0 leads. Returns when the
/// run has ended, or at once if rank 0 [releases](release_followers) the others.
///
/// # Errors
/// [`TrainError`].
pub fn train_as_follower(ranks: &Ranks) -> Result<(), TrainError> {
    let text = ranks.broadcast(Vec::new());
    if text.is_empty() {
        return Ok(());
    }
    let [pixels, labels] = [(); 2].map(|()| ranks.broadcast(Vec::new()));
    let data = Dataset::new(pixels, labels);
    let settings =
        resolve(&[SettingsSource::text(Path::new("the settings of rank 0"), &String::from_utf8_lossy(&text))?])?;
    let backend = backend::open_for_rank(ranks.local_rank(), &settings, &mut |_| ())?;
    with_backend!(backend, |backend| follow_on(backend, &settings, ranks, &data))
}

/// On rank 0: ends [`train_as_follower`] on the other ranks, because there is nothing to train.
pub fn release_followers(ranks: &Ranks) {
    ranks.broadcast(Vec::new());
}

/// On rank 0: sends the settings and the images to the other ranks.
pub(super) fn send_run(ranks: &Ranks, settings: &Settings, images: &Dataset) -> Result<(), TrainError> {
    if ranks.count() > 1 {
        ranks.broadcast(settings.to_toml()?.into_bytes());
        ranks.broadcast(images.pixels().to_vec());
        ranks.broadcast(images.labels().to_vec());
    }
    Ok(())
}

fn follow_on<B: ImageBackend>(
    backend: B,
    settings: &Settings,
    ranks: &Ranks,
    images: &Dataset,
) -> Result<(), TrainError> {
    let training = &settings.training;
    check_backends(ranks, &backend.name())?;
    let mut plans = Plans::for_rank(&settings.network, training.size, ranks.clone())?;
    let steps = plans.cover(PlanKind::Training, training.batch, training.samples)?;
    plans.limit_memory(&backend, settings.run.memory_limit)?;
    let mut session = plans.session(backend)?;
    stop::catch_signals().map_err(TrainError::Signals)?;
    let checkpoint = Checkpoint::from_bytes(Path::new("the state of rank 0"), &ranks.broadcast(Vec::new()))?;
    let (position, batches_before) = checkpoint::load_run(&mut session, &checkpoint)?;
    let batches = TrainingBatches::new(images, training.size, training.seed);
    let mut stepper = Stepper::new(settings, ranks.clone(), batches, steps, position, batches_before);
    session.enter(|session| stepper.follow(session))
}
