//! The loop: a step after the other, with validations and checkpoints between them.

use super::folder::Folder;
use super::log::Log;
use super::preview::Preview;
use super::{NotFinite, TrainError};
use crate::checkpoint::{self, Checkpoint, Position, RunState};
use crate::data::TrainingBatches;
use crate::device::Compute;
use crate::eval::{Validation, Validator};
use crate::passes::Pass;
use crate::progress::{self, Progress, Status};
use crate::settings::Settings;
use engine::{AdamW, Element, Schedule, Session};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The loss that is told is the mean over about so many steps.
const SMOOTHING_STEPS: f64 = 50.0;
/// Rows are written to the disk at least this often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// A run that goes on.
pub(super) struct Run<'a, E> {
    pub(super) settings: &'a Settings,
    pub(super) folder: &'a Folder,
    pub(super) schedule: Schedule,
    pub(super) optimizer: AdamW,
    pub(super) batches: TrainingBatches<'a>,
    /// The pass over full batches, if there are any, and the one over a smaller last batch, if there is one.
    pub(super) steps: Vec<Pass>,
    pub(super) validator: Validator<'a, E>,
    pub(super) preview: Preview<E>,
    pub(super) metrics: Log,
    pub(super) validations: Log,
    /// When the rows of `metrics` were written to the disk.
    pub(super) flushed: Instant,
    pub(super) progress: Progress,
    pub(super) last_checkpoint: Option<PathBuf>,
    /// Batches that the running statistics had seen before the run.
    pub(super) batches_before: u64,
    pub(super) position: Position,
}

/// The images of a step.
struct Buffers<E> {
    input: Vec<E>,
    target: Vec<E>,
}

impl<E: Element + From<f32> + Default> Run<'_, E> {
    /// Trains to the end, and returns the last validation.
    ///
    /// At any position, the checkpoint is written before the validation. So a run that resumes validates first, and then goes on as
    /// the interrupted one would have.
    pub(super) fn finish<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
    ) -> Result<Validation, TrainError> {
        let elements = self.steps[0].batch * self.settings.training.size.pow(2);
        let mut buffers = Buffers { input: vec![E::default(); elements], target: vec![E::default(); elements] };
        let mut pace = Pace::new(self.settings, self.validator.images());
        loop {
            if self.passed(self.settings.run.validate_every) {
                let begun = Instant::now();
                let validation = self.validate(session)?;
                pace.validated(begun.elapsed());
                if self.is_done() {
                    return Ok(validation);
                }
            }
            self.step(session, &mut buffers, &mut pace)?;
            if self.passed(self.settings.run.checkpoint_every) {
                self.save(session)?;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.position.samples == self.settings.training.samples
    }

    /// Whether the last step reached a multiple of `every` images, or the end.
    fn passed(&self, every: u64) -> bool {
        let Position { step, samples, .. } = self.position;
        let before = step.saturating_sub(1) * self.settings.training.batch as u64;
        self.is_done() || (every > 0 && samples / every > before / every)
    }

    fn step<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        buffers: &mut Buffers<E>,
        pace: &mut Pace,
    ) -> Result<(), TrainError> {
        let begun = Instant::now();
        let left = self.settings.training.samples - self.position.samples;
        let fits = |pass: &&Pass| pass.batch as u64 <= left;
        let pass = *self.steps.iter().find(fits).expect("the passes cover the run's images exactly");
        let elements = pass.batch * self.settings.training.size.pow(2);
        let (input, target) = (&mut buffers.input[..elements], &mut buffers.target[..elements]);
        self.batches.fill(self.position.samples, input, target);
        let loss = pass.train(session, input, target)?;
        let (step, samples) = (self.position.step + 1, self.position.samples + pass.batch as u64);
        if !loss.is_finite() {
            self.metrics.flush()?;
            let checkpoint = self.last_checkpoint.clone();
            return Err(NotFinite { loss, step, samples, checkpoint }.into());
        }
        let lr = self.schedule.lr(self.position.step);
        session.adamw(&self.optimizer, lr);
        self.metrics.row(format_args!("{step},{samples},{},{}", lr as f32, loss as f32))?;
        let took = begun.elapsed();
        self.position.seconds += took.as_secs_f64();
        (self.position.step, self.position.samples) = (step, samples);
        pace.stepped(pass.batch, took, loss, samples);
        if let Some(duration) = pace.estimate() {
            self.progress.say(&format!("this takes {}", progress::about(duration)));
        }
        self.progress.update(&Status {
            samples,
            loss: pace.loss,
            lr,
            images_per_second: pace.images_per_second(),
            remaining: pace.remaining(),
        });
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.metrics.flush()?;
        }
        Ok(())
    }

    /// Validates, adds a row to the table and renews the picture.
    fn validate<B: Compute<Element = E>>(&mut self, session: &mut Session<B>) -> Result<Validation, TrainError> {
        self.progress.note("validating");
        let validation = self.validator.validate(session)?;
        let Position { step, samples, .. } = self.position;
        let (running, batch) = (validation.running.all, validation.batch.all);
        self.validations.row(format_args!("{step},{samples},{running:.7},{batch:.7}"))?;
        self.validations.flush()?;
        self.preview.write(session, &self.folder.picture())?;
        self.progress.say(&format!(
            "validation after {samples} images: {running:.5} with running statistics, {batch:.5} with batch statistics"
        ));
        Ok(validation)
    }

    /// Writes a checkpoint. The tables are written before, so that they have at least the checkpoint's rows.
    fn save<B: Compute<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        self.metrics.flush()?;
        let mut tensors = checkpoint::state_dict(session, self.batches_before + self.position.step)?;
        tensors.extend(checkpoint::optimizer_state(session)?);
        let run = RunState { settings: self.settings.clone(), position: self.position.clone() };
        let path = self.folder.checkpoint();
        Checkpoint { path: path.clone(), tensors, run: Some(run) }.write()?;
        self.last_checkpoint = Some(path);
        Ok(())
    }
}

/// How fast the run goes, and how long it still takes. Counts from where this process began.
struct Pace {
    total: u64,
    validate_every: u64,
    /// Images that a validation computes, for both kinds of statistics.
    validation_images: u64,
    validation: Option<Duration>,
    samples: u64,
    steps: u64,
    timed_images: u64,
    timed: Duration,
    /// Smoothed loss.
    loss: f64,
}

impl Pace {
    /// Steps that the first estimate is measured on.
    const ESTIMATE_STEPS: u64 = 5;
    /// How much faster the forward pass alone is, until a validation has been timed.
    const FORWARD_SPEEDUP: f64 = 3.0;

    fn new(settings: &Settings, validation_images: usize) -> Pace {
        Pace {
            total: settings.training.samples,
            validate_every: settings.run.validate_every,
            validation_images: 2 * validation_images as u64,
            validation: None,
            samples: 0,
            steps: 0,
            timed_images: 0,
            timed: Duration::ZERO,
            loss: 0.0,
        }
    }

    /// Counts a step that took `took`, after which the run has seen `samples` images.
    fn stepped(&mut self, batch: usize, took: Duration, loss: f64, samples: u64) {
        self.steps += 1;
        self.samples = samples;
        self.loss += (loss - self.loss) / (self.steps as f64).min(SMOOTHING_STEPS);
        // The first step touches all memory for the first time: it is the speed of a run only until there is another one.
        if self.steps <= 2 {
            (self.timed, self.timed_images) = (Duration::ZERO, 0);
        }
        self.timed += took;
        self.timed_images += batch as u64;
    }

    fn validated(&mut self, took: Duration) {
        self.validation = Some(took);
    }

    fn images_per_second(&self) -> f64 {
        self.timed_images as f64 / self.timed.as_secs_f64()
    }

    fn remaining(&self) -> Duration {
        let speed = self.images_per_second();
        let validation = match self.validation {
            Some(took) => took.as_secs_f64(),
            None => self.validation_images as f64 / (speed * Pace::FORWARD_SPEEDUP),
        };
        let between = match self.validate_every {
            0 => 0,
            every => (self.total - 1) / every - self.samples.min(self.total - 1) / every,
        };
        let seconds = (self.total - self.samples) as f64 / speed + (between + 1) as f64 * validation;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The time that is left, once: when enough steps have been timed.
    fn estimate(&self) -> Option<Duration> {
        (self.steps == Pace::ESTIMATE_STEPS + 1).then(|| self.remaining())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_does_not_count_and_validations_do() {
        let mut settings = Settings::default();
        settings.training.samples = 1000;
        settings.run.validate_every = 400;
        let mut pace = Pace::new(&settings, 300);
        pace.stepped(10, Duration::from_secs(100), 1.0, 10);
        assert_eq!(pace.images_per_second(), 0.1);
        for step in 2..=6 {
            assert_eq!(pace.estimate(), None);
            pace.stepped(10, Duration::from_secs(1), 1.0, step * 10);
        }
        assert_eq!(pace.images_per_second(), 10.0);
        // 940 images at 10 a second, and validations at 400, 800 and 1000 of 600 images at 30 a second.
        assert_eq!(pace.estimate(), Some(Duration::from_secs(94 + 3 * 20)));
        pace.validated(Duration::from_secs(5));
        assert_eq!(pace.remaining(), Duration::from_secs(94 + 3 * 5));
        assert_eq!(pace.loss, 1.0);
    }
}
