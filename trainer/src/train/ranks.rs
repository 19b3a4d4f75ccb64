//! Several ranks: what must hold of them, and what those do that do not lead.

use super::backend::{self, ImageBackend, with_backend};
use super::checkpoint::{self, Checkpoint};
use super::error::{RankError, TrainError};
use super::plans::{PlanKind, Plans};
use super::step::{Stepper, images_to_plan};
use crate::data::{Data, Dataset, Fit};
use crate::settings::{Settings, SettingsSource, resolve};
use crate::system::ranks::Ranks;
use crate::system::stop;
use crate::tasks::{Samples, TrainingBatches};
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
    let images = Dataset::from_bytes(&ranks.broadcast(Vec::new()));
    let seen = ranks.broadcast(Vec::new()).try_into().map_or(0, u64::from_le_bytes);
    let settings =
        resolve(&[SettingsSource::text(Path::new("the settings of rank 0"), &String::from_utf8_lossy(&text))?])?;
    let backend = backend::open_for_rank(ranks.local_rank(), &settings, &mut |_| ())?;
    let fit = settings.training.fit.unwrap_or(Fit::Resize);
    let (size, task) = (settings.training.size, &settings.training.task);
    let samples = Samples { images: &images, size, fit, task };
    with_backend!(backend, |backend| follow_on(backend, &settings, seen, ranks, samples))
}

/// On rank 0: ends [`train_as_follower`] on the other ranks, because there is nothing to train.
pub fn release_followers(ranks: &Ranks) {
    ranks.broadcast(Vec::new());
}

/// On rank 0: sends the settings, the images, and how many of them the run has seen, to the other ranks.
pub(super) fn send_run(ranks: &Ranks, settings: &Settings, data: &Data, seen: u64) -> Result<(), TrainError> {
    if ranks.count() > 1 {
        let images = data.train.to_bytes().ok_or(RankError::ImagesInFiles)?;
        ranks.broadcast(settings.to_toml()?.into_bytes());
        ranks.broadcast(images);
        ranks.broadcast(seen.to_le_bytes().to_vec());
    }
    Ok(())
}

fn follow_on<B: ImageBackend>(
    backend: B,
    settings: &Settings,
    seen: u64,
    ranks: &Ranks,
    samples: Samples<'_>,
) -> Result<(), TrainError> {
    let training = &settings.training;
    check_backends(ranks, &backend.name())?;
    let mut plans = Plans::for_rank(settings, ranks.clone())?;
    let steps = plans.cover(PlanKind::Training, training.batch, images_to_plan(settings, seen))?;
    plans.limit_memory(&backend, settings.run.memory_limit)?;
    let mut session = plans.session(backend)?;
    stop::catch_signals().map_err(TrainError::Signals)?;
    let checkpoint = Checkpoint::from_bytes(Path::new("the state of rank 0"), &ranks.broadcast(Vec::new()))?;
    let (position, batches_before) = checkpoint::load_run(&mut session, &checkpoint)?;
    let batches = TrainingBatches::new(samples, training.seed, training.augment);
    let mut stepper = Stepper::new(settings, ranks.clone(), batches, steps, position, batches_before);
    session.enter(|session| stepper.follow(session))
}

/// Checks that each of the ranks has at least one image of every batch that comes after `seen` images.
pub(super) fn check_batches(settings: &Settings, seen: u64, ranks: usize) -> Result<(), RankError> {
    let (batch, samples) = (settings.training.batch, images_to_plan(settings, seen));
    let rest = samples % batch as u64;
    let images = if rest > 0 { rest } else { batch as u64 };
    if images < ranks as u64 { Err(RankError::FewImages { ranks, images, batch, samples }) } else { Ok(()) }
}

/// Longest name of a backend, in bytes.
const NAME_BYTES: usize = 64;

/// Checks that all ranks compute on the same backend; `own` is the name of this rank's.
///
/// # Errors
/// [`RankError::OtherBackend`], on every rank.
pub(super) fn check_backends(ranks: &Ranks, own: &str) -> Result<(), RankError> {
    let mut name = [0; NAME_BYTES];
    name.iter_mut().zip(own.bytes()).for_each(|(to, byte)| *to = byte);
    let names = ranks.gather(name);
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    match names.iter().position(|name| *name != names[0]) {
        Some(rank) => Err(RankError::OtherBackend { rank, expected: text(&names[0]), got: text(&names[rank]) }),
        None => Ok(()),
    }
}
