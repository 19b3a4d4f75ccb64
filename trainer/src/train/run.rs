//! The loop: a step after the other, with validations and checkpoints between them.

use super::folder::Folder;
use super::log::Log;
use super::preview::Preview;
use super::step::{Next, Stepped, Stepper};
use super::{NotFinite, Stopped, TrainError};
use crate::apply::eval::{Validation, Validator};
use crate::output::tensorboard::Events;
use crate::settings::Settings;
use crate::system::files;
use crate::system::progress::{self, Progress, Status};
use crate::system::stop::{self, Signal};
use crate::train::checkpoint::Position;
use crate::train::device::Compute;
use engine::{Element, Session};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The loss and the speed that are told are means over about so many steps.
const SMOOTHING_STEPS: f64 = 50.0;
/// Rows are written to the disk at least this often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Longest picture that is passed on, in bytes.
const MAX_PICTURE_BYTES: u64 = 1 << 30;

/// What the curves and pictures are called in TensorBoard.
pub(super) const TRAINING_LOSS: &str = "loss/training";
pub(super) const LEARNING_RATE: &str = "learning_rate";
const RUNNING_LOSS: &str = "loss/validation_running";
const BATCH_LOSS: &str = "loss/validation_batch";
const RECONSTRUCTION: &str = "reconstruction";

/// A run that goes on, on the rank that leads.
pub(super) struct Run<'a, E> {
    pub(super) stepper: Stepper<'a, E>,
    pub(super) folder: &'a Folder,
    pub(super) validator: Validator<'a, E>,
    pub(super) preview: Preview<E>,
    pub(super) metrics: Log,
    pub(super) validations: Log,
    /// The same for TensorBoard, and the pictures.
    pub(super) events: Events,
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
        let settings = self.stepper.settings;
        let run = &settings.run;
        let mut pace = Pace::new(settings, self.validator.images());
        let mut stepped = Vec::new();
        loop {
            let mut last = None;
            if self.stepper.passed(run.validate_every) {
                self.stepper.check_ranks(session)?;
                let begun = Instant::now();
                if let Some(validation) = self.validate(session)? {
                    pace.validated(begun.elapsed());
                    last = self.stepper.is_done().then_some(validation);
                }
            }
            match (self.stepper.next(last.is_some()), last) {
                (Next::Stop(signal), _) => return Err(self.stop(session, signal)?.into()),
                (_, Some(validation)) => return Ok(validation),
                (_, None) => {}
            }
            self.advance(session, &mut pace, &mut stepped)?;
            if self.stepper.passed(run.checkpoint_every) || self.is_checkpoint_due() {
                self.save(session)?;
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let minutes = self.stepper.settings.run.checkpoint_minutes;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= 60.0 * minutes
    }

    /// Makes sure that there is a checkpoint of this position.
    fn stop<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        signal: Signal,
    ) -> Result<Stopped, TrainError> {
        if self.newest.as_ref().is_none_or(|(_, step)| *step != self.stepper.position.step) {
            self.save(session)?;
        }
        self.progress.finish();
        Ok(self.stepper.stopped(signal))
    }

    /// Takes some steps, and tells of them.
    fn advance<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        pace: &mut Pace,
        stepped: &mut Vec<Stepped>,
    ) -> Result<(), TrainError> {
        let advanced = self.stepper.advance(session, stepped);
        for step in stepped.drain(..) {
            self.log(step, pace)?;
        }
        match advanced {
            Err(TrainError::NotFinite(error)) => {
                self.metrics.flush()?;
                return Err(self.not_finite(error));
            }
            advanced => advanced?,
        }
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.metrics.flush()?;
            self.events.flush()?;
        }
        Ok(())
    }

    /// Writes a step to the tables, and shows it.
    fn log(&mut self, stepped: Stepped, pace: &mut Pace) -> Result<(), TrainError> {
        let Stepped { step, samples, batch, loss, lr, took, skipped } = stepped;
        if let Some(skipped) = skipped {
            self.progress.say(&skipped);
        }
        self.metrics.row(format_args!("{step},{samples},{},{}", lr as f32, loss as f32))?;
        self.events.scalars(step, &[(TRAINING_LOSS, loss as f32), (LEARNING_RATE, lr as f32)])?;
        pace.stepped(batch, took, loss, samples);
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
        Ok(())
    }

    /// The error with what there is to go on from.
    fn not_finite(&self, error: NotFinite) -> TrainError {
        NotFinite { checkpoint: self.last_checkpoint().map(Path::to_owned), ..error }.into()
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
        let Position { step, samples, .. } = self.stepper.position;
        let (running, batch) = (validation.running.all, validation.batch.all);
        let row = format!("{step},{samples},{running:.7},{batch:.7}");
        self.validations.row(format_args!("{row}"))?;
        self.validations.sync()?;
        // By the figure in the table, which a resumed run compares with.
        let rounded = (running * 1e7).round() / 1e7;
        if rounded.is_finite() && self.best.is_none_or(|best| rounded < best) {
            self.best = Some(rounded);
            self.stepper.checkpoint(session, self.folder.best())?.write()?;
        }
        self.preview.write(session, &self.folder.picture())?;
        self.validator.errors().write(&self.folder.errors())?;
        self.events.scalars(step, &[(RUNNING_LOSS, running as f32), (BATCH_LOSS, batch as f32)])?;
        let picture = files::read_bytes(&self.folder.picture(), MAX_PICTURE_BYTES)?;
        self.events.picture(step, RECONSTRUCTION, picture)?;
        self.events.flush()?;
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
        self.events.flush()?;
        let path = self.folder.checkpoint();
        let checkpoint = self.stepper.checkpoint(session, path.clone())?;
        if let Some(name) = checkpoint.non_finite() {
            let what = format!("`{name}` became NaN or infinite");
            let Position { step, samples, .. } = self.stepper.position;
            return Err(self.not_finite(NotFinite { what, step, samples, origin: None, checkpoint: None }));
        }
        // Only a checkpoint of that name has to make room.
        let before = self.newest.as_ref().filter(|(newest, _)| *newest == path).map(|(_, step)| *step);
        self.folder.keep(&checkpoint, before, self.stepper.settings.run.keep_checkpoints)?;
        (self.newest, self.saved) = (Some((path, self.stepper.position.step)), Instant::now());
        Ok(())
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
