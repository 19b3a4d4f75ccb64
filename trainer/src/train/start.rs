//! How a run begins: in a new folder, or where an earlier process stopped.

use super::backend::ImageBackend;
use super::checkpoint::{self, Checkpoint, Position};
use super::error::TrainError;
use super::folder::{ResumePoint, RunFolder};
use crate::settings::Settings;
use crate::system::terminal;
use engine::Session;

/// How a run begins.
#[derive(Debug)]
pub enum Start {
    /// In a folder that is new or empty.
    New,
    /// In any folder; what an earlier run left in it is overwritten.
    Overwrite,
    /// At the last checkpoint of the run in this folder.
    Resume(Box<ResumePoint>),
}

/// Checks that the run can begin as `start` says.
pub(super) fn check_start(settings: &Settings, start: &Start) -> Result<(), TrainError> {
    match start {
        Start::New => RunFolder::new(&settings.out()).check_new()?,
        Start::Overwrite => {}
        Start::Resume(resumed) => settings.check_resumes(&resumed.checkpoint.run_state()?.settings)?,
    }
    Ok(())
}

/// Sets the first weights of the session, or those of the checkpoint. Returns the position of the run, and the number of batches that the
/// running statistics had seen before the run.
pub(super) fn load_start<B: ImageBackend>(
    session: &mut Session<B>,
    settings: &Settings,
    start: &Start,
    device: &str,
) -> Result<(Position, u64), TrainError> {
    session.initialize(settings.training.seed);
    if let Start::Resume(resumed) = start {
        let checkpoint = &resumed.checkpoint;
        let position = checkpoint.run_state()?.position.clone();
        let kind = |backend: &str| backend.split('-').next().map(str::to_owned);
        if kind(&position.backend) != kind(device) {
            return Err(TrainError::OtherDevice { had: position.backend, got: device.to_owned() });
        }
        if position.backend != device {
            terminal::print_status(&format!(
                "the run was started on {}, now it is {device}: the numbers will differ by rounding",
                position.backend
            ));
        }
        let batches = checkpoint::load_weights(session, checkpoint)?;
        checkpoint::load_optimizer(session, checkpoint, position.updates())?;
        let Position { step, samples, .. } = position;
        terminal::print_status(&format!(
            "resuming after step {step} ({samples} images) from {}",
            checkpoint.path.display()
        ));
        let before = batches.saturating_sub(position.updates());
        return Ok((Position { backend: device.to_owned(), ..position }, before));
    }
    let batches = match &settings.training.init {
        Some(path) => checkpoint::load_weights(session, &Checkpoint::read(path)?)?,
        None => 0,
    };
    Ok((Position { step: 0, samples: 0, seconds: 0.0, skipped: 0, backend: device.to_owned() }, batches))
}
