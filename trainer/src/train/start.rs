//! How a run begins: in a new folder, or where an earlier process stopped.

use super::backend::ImageBackend;
use super::checkpoint::{self, Checkpoint, CheckpointError, Position};
use super::error::TrainError;
use super::folder::{Resumable, ResumePoint, RunFolder};
use super::step::schedule;
use crate::settings::{Difference, Settings};
use crate::system::lock::Lock;
use crate::system::terminal::print_status;
use engine::Session;

/// How a run begins.
#[derive(Debug)]
pub enum Start {
    /// In a folder that is new or empty. It may be locked already.
    New(Option<Lock>),
    /// In any folder, which may be locked already; what an earlier run left in it is overwritten.
    Overwrite(Option<Lock>),
    /// At the last checkpoint of the run in this folder.
    Resume(Box<ResumePoint>),
}

impl From<Resumable> for Start {
    fn from(resumable: Resumable) -> Start {
        match resumable {
            Resumable::FromCheckpoint(resumed) => Start::Resume(resumed),
            Resumable::FromStart(_, lock) => Start::Overwrite(Some(lock)),
            Resumable::Nothing(lock) => Start::New(lock),
        }
    }
}

impl Start {
    /// Training images that the run has seen.
    pub(super) fn samples(&self) -> Result<u64, CheckpointError> {
        match self {
            Start::Resume(resumed) => Ok(resumed.checkpoint.resumable()?.1.samples),
            Start::New(_) | Start::Overwrite(_) => Ok(0),
        }
    }
}

/// Checks that the run can begin as `start` says.
pub(super) fn check_start(settings: &Settings, start: &Start) -> Result<(), TrainError> {
    match start {
        Start::New(_) => RunFolder::new(&settings.out()).check_new()?,
        Start::Overwrite(_) => {}
        Start::Resume(resumed) => settings.check_goes_on(resumed.checkpoint.resumable()?.0)?,
    }
    Ok(())
}

/// Sets the first weights of the session, or those of the checkpoint. Returns the position of the run, and the number
/// of batches that the running statistics had seen before the run.
pub(super) fn load_start<B: ImageBackend>(
    session: &mut Session<B>,
    settings: &Settings,
    start: &Start,
    device: &str,
) -> Result<(Position, u64), TrainError> {
    session.initialize(settings.training.seed);
    if let Start::Resume(resumed) = start {
        let checkpoint = &resumed.checkpoint;
        let had = &checkpoint.resumable()?.1.backend;
        let kind = |backend: &str| backend.split('-').next().map(str::to_owned);
        if kind(had) != kind(device) {
            return Err(TrainError::OtherDevice { had: had.clone(), got: device.to_owned() });
        }
        if had != device {
            print_status(&format!(
                "the run was started on {had}, now it is {device}: the numbers will differ by rounding"
            ));
        }
        let (mut position, batches_before) = checkpoint::load_run(session, checkpoint)?;
        let Position { step, samples, .. } = position;
        print_status(&format!("resuming after step {step} ({samples} images) from {}", checkpoint.path.display()));
        let shorter = checkpoint.resumable()?.0;
        let (before, now) = (shorter.training.samples, settings.training.samples);
        if before < now {
            position.missing = (step * settings.training.batch as u64).saturating_sub(samples);
            let [was, is] = [shorter, settings].map(|settings| schedule(settings, &position).lr(step));
            print_status(&format!(
                "lengthened from {before} to {now} images; the learning rate, which was {was:.2e} here, goes on with \
                 {is:.2e}, as in a run of {now} images"
            ));
        }
        return Ok((Position { backend: device.to_owned(), ..position }, batches_before));
    }
    let batches = match &settings.training.init {
        Some(path) => {
            let weights = Checkpoint::read_weights(&RunFolder::weights_of(path)?, &print_status)?;
            let batches = checkpoint::load_weights(session, &weights)?;
            let trained = weights.run.as_ref().map(|run| run.settings.differences(settings, &["network"]));
            for Difference { key, had, now } in trained.transpose()?.unwrap_or_default() {
                print_status(&format!("{}: trained with {key} {had}, now it is {now}", path.display()));
            }
            batches
        }
        None => 0,
    };
    Ok((Position { step: 0, samples: 0, seconds: 0.0, skipped: 0, missing: 0, backend: device.to_owned() }, batches))
}
