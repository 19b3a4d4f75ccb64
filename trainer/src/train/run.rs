//! The loop: a step after the other, with validations and checkpoints between them.

use super::folder::Folder;
use super::log::Log;
use super::preview::Preview;
use super::{NotFinite, Stopped, TrainError};
use crate::checkpoint::{self, Checkpoint, Position, RunState};
use crate::data::TrainingBatches;
use crate::device::Compute;
use crate::eval::{Validation, Validator};
use crate::passes::Pass;
use crate::progress::{self, Progress, Status};
use crate::settings::{OnNan, Settings};
use crate::stop::{self, Signal};
use engine::{AdamW, Element, Schedule, Session};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The loss and the speed that are told are means over about so many steps.
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
    /// Called after every validation.
    pub(super) validated: Option<&'a (dyn Fn() + Sync)>,
    /// The newest checkpoint: its file and its step.
    pub(super) newest: Option<(PathBuf, u64)>,
    /// When this process wrote it, or began.
    pub(super) saved: Instant,
    /// The lowest validation loss so far, with running statistics.
    pub(super) best: Option<f64>,
    /// The running statistics before the step.
    pub(super) states: Vec<E>,
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
                if let Some(validation) = self.validate(session)? {
                    pace.validated(begun.elapsed());
                    if self.is_done() {
                        return Ok(validation);
                    }
                }
            }
            if let Some(signal) = stop::requested() {
                return Err(self.stop(session, signal)?.into());
            }
            self.step(session, &mut buffers, &mut pace)?;
            if self.passed(self.settings.run.checkpoint_every) || self.is_checkpoint_due() {
                self.save(session)?;
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let minutes = self.settings.run.checkpoint_minutes;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= 60.0 * minutes
    }

    /// Makes sure that there is a checkpoint of this position.
    fn stop<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        signal: Signal,
    ) -> Result<Stopped, TrainError> {
        if self.newest.as_ref().is_none_or(|(_, step)| *step != self.position.step) {
            self.save(session)?;
        }
        self.progress.finish();
        let Position { step, samples, .. } = self.position;
        Ok(Stopped { signal, step, samples, out: self.folder.path().to_owned() })
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
        session.states(&mut self.states);
        let loss = pass.train(session, input, target)?;
        let (step, samples) = (self.position.step + 1, self.position.samples + pass.batch as u64);
        let lr = self.schedule.lr(self.position.step);
        if loss.is_finite() && session.gradients_are_finite() {
            session.adamw(&self.optimizer, lr);
        } else {
            self.not_finite(session, &pass, loss)?;
        }
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
            whole_run: pace.of_samples(0),
        });
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.metrics.flush()?;
        }
        Ok(())
    }

    /// After a step whose loss or gradients are not finite: undoes what it did to the running statistics, and ends the run unless the
    /// step is to be skipped.
    fn not_finite<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        pass: &Pass,
        loss: f64,
    ) -> Result<(), TrainError> {
        session.set_states(&self.states);
        let skip = self.settings.run.on_nan == OnNan::Skip;
        // Once the count is large, one message in many is enough, and so is one search.
        if skip && self.position.skipped > 0 && !(self.position.skipped + 1).is_power_of_two() {
            self.position.skipped += 1;
            return Ok(());
        }
        let origin = session.find_non_finite(pass.plan)?;
        session.set_states(&self.states);
        let what = match loss.is_finite() {
            true => "a gradient became NaN or infinite".to_owned(),
            false => format!("the loss became {loss}"),
        };
        let (step, samples) = (self.position.step + 1, self.position.samples + pass.batch as u64);
        let error = NotFinite { what, step, samples, origin, checkpoint: self.last_checkpoint().map(Path::to_owned) };
        if skip {
            self.position.skipped += 1;
            self.progress.say(&format!(
                "skipping a step: {}; skipped so far: {}",
                error.place(),
                self.position.skipped
            ));
            return Ok(());
        }
        self.metrics.flush()?;
        Err(error.into())
    }

    /// The newest checkpoint's file.
    pub(super) fn last_checkpoint(&self) -> Option<&Path> {
        self.newest.as_ref().map(|(path, _)| path.as_path())
    }

    /// Validates, adds a row to the table and renews the picture; nothing of that if the run is asked to stop meanwhile.
    fn validate<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
    ) -> Result<Option<Validation>, TrainError> {
        self.progress.note("validating");
        let Some(validation) = self.validator.validate_unless(session, &|| stop::requested().is_some())? else {
            return Ok(None);
        };
        let Position { step, samples, .. } = self.position;
        let (running, batch) = (validation.running.all, validation.batch.all);
        let row = format!("{step},{samples},{running:.7},{batch:.7}");
        self.validations.row(format_args!("{row}"))?;
        self.validations.sync()?;
        // By the figure in the table, which a resumed run compares with.
        let rounded = (running * 1e7).round() / 1e7;
        if rounded.is_finite() && self.best.is_none_or(|best| rounded < best) {
            self.best = Some(rounded);
            self.checkpoint(session, self.folder.best())?.write()?;
        }
        self.preview.write(session, &self.folder.picture())?;
        self.progress.say(&format!(
            "validation after {samples} images: {running:.5} with running statistics, {batch:.5} with batch statistics"
        ));
        self.metrics.flush()?;
        if let Some(validated) = self.validated {
            validated();
        }
        Ok(Some(validation))
    }

    /// Writes a checkpoint. The tables are written before, so that they have at least the checkpoint's rows.
    fn save<B: Compute<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        self.metrics.sync()?;
        let path = self.folder.checkpoint();
        let checkpoint = self.checkpoint(session, path.clone())?;
        if let Some(name) = checkpoint.non_finite() {
            let what = format!("`{name}` became NaN or infinite");
            let Position { step, samples, .. } = self.position;
            let last = self.last_checkpoint().map(Path::to_owned);
            return Err(NotFinite { what, step, samples, origin: None, checkpoint: last }.into());
        }
        // Only a checkpoint of that name has to make room.
        let before = self.newest.as_ref().filter(|(newest, _)| *newest == path).map(|(_, step)| *step);
        self.folder.keep(&checkpoint, before, self.settings.run.keep_checkpoints)?;
        (self.newest, self.saved) = (Some((path, self.position.step)), Instant::now());
        Ok(())
    }

    /// The run as it is, for the file `path`.
    fn checkpoint<B: Compute<Element = E>>(
        &self,
        session: &Session<B>,
        path: PathBuf,
    ) -> Result<Checkpoint, TrainError> {
        let mut tensors = checkpoint::state_dict(session, self.batches_seen())?;
        tensors.extend(checkpoint::optimizer_state(session)?);
        let run = RunState { settings: self.settings.clone(), position: self.position.clone() };
        Ok(Checkpoint { path, tensors, run: Some(run) })
    }

    /// Batches that the running statistics have seen.
    pub(super) fn batches_seen(&self) -> u64 {
        self.batches_before + self.position.updates()
    }
}

/// How fast the run goes, and how long it still takes. Counts from where this process began.
pub(super) struct Pace {
    total: u64,
    validate_every: u64,
    /// Images that a validation computes, for both kinds of statistics.
    validation_images: u64,
    validation: Option<Duration>,
    samples: u64,
    steps: u64,
    /// Time that an image takes in a training step, smoothed.
    seconds_per_image: f64,
    /// Smoothed loss.
    loss: f64,
}

impl Pace {
    /// Steps that the first estimate is measured on.
    const ESTIMATE_STEPS: u64 = 5;
    /// How much faster the forward pass alone is, until a validation has been timed.
    const FORWARD_SPEEDUP: f64 = 3.0;

    pub(super) fn new(settings: &Settings, validation_images: usize) -> Pace {
        Pace {
            total: settings.training.samples,
            validate_every: settings.run.validate_every,
            validation_images: 2 * validation_images as u64,
            validation: None,
            samples: 0,
            steps: 0,
            seconds_per_image: 0.0,
            loss: 0.0,
        }
    }

    /// Counts a step that took `took`, after which the run has seen `samples` images.
    pub(super) fn stepped(&mut self, batch: usize, took: Duration, loss: f64, samples: u64) {
        self.steps += 1;
        self.samples = samples;
        if loss.is_finite() {
            self.loss += (loss - self.loss) / (self.steps as f64).min(SMOOTHING_STEPS);
        }
        // The first step touches all memory for the first time: it tells the speed only until there is another one.
        let timed = (self.steps - 1).max(1) as f64;
        let seconds = took.as_secs_f64() / batch as f64;
        self.seconds_per_image += (seconds - self.seconds_per_image) / timed.min(SMOOTHING_STEPS);
    }

    fn validated(&mut self, took: Duration) {
        self.validation = Some(took);
    }

    fn images_per_second(&self) -> f64 {
        1.0 / self.seconds_per_image
    }

    fn remaining(&self) -> Duration {
        self.of_samples(self.samples)
    }

    /// Time from where `samples` images have been seen to the end, at this pace.
    pub(super) fn of_samples(&self, samples: u64) -> Duration {
        let speed = self.images_per_second();
        let validation = match self.validation {
            Some(took) => took.as_secs_f64(),
            None => self.validation_images as f64 / (speed * Pace::FORWARD_SPEEDUP),
        };
        let between = match self.validate_every {
            0 => 0,
            every => (self.total - 1) / every - samples.min(self.total - 1) / every,
        };
        let seconds = (self.total - samples) as f64 / speed + (between + 1) as f64 * validation;
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
            // A power of two, so that no figure is rounded.
            pace.stepped(10, Duration::from_millis(1250), 1.0, step * 10);
        }
        assert_eq!(pace.images_per_second(), 8.0);
        // 940 images at 8 a second, and validations at 400, 800 and 1000 of 600 images at 24 a second.
        assert_eq!(pace.estimate(), Some(Duration::from_millis(117_500 + 3 * 25_000)));
        pace.validated(Duration::from_secs(5));
        assert_eq!(pace.remaining(), Duration::from_millis(117_500 + 3 * 5000));
        assert_eq!(pace.loss, 1.0);
    }
}
