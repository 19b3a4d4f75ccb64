//! The loop of the rank that leads: training steps, with validations and checkpoints between them.

use super::backend::ImageBackend;
use super::checkpoint::Position;
use super::error::{NotFinite, Stopped, TrainError};
use super::finish::draw_curve;
use super::folder::RunFolder;
use super::live::Live;
use super::log;
use super::pace::Pace;
use super::records::{Best, LEARNING_RATE, Records, TRAINING_LOSS, ValidationRow};
use super::step::{Next, StepResult, Stepper};
use crate::output::summary::EarlyStop;
use crate::published::Study;
use crate::system::files;
use crate::system::lock::Lock;
use crate::system::progress::{self, Progress, ProgressUpdate};
use crate::system::stop::{self, Signal};
use crate::validation::{Preview, Validation, Validator};
use engine::{Element, Session};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows are written to the disk at least this often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// Longest picture that is read, in bytes.
const MAX_PICTURE_BYTES: u64 = 1 << 30;

/// The name of the pictures in TensorBoard.
const RECONSTRUCTION: &str = "reconstruction";

/// A run, on the rank that leads.
pub(super) struct TrainingLoop<'a, E> {
    pub(super) stepper: Stepper<'a, E>,
    pub(super) folder: &'a RunFolder,
    /// The folder's lock.
    pub(super) lock: &'a Lock,
    pub(super) validator: Validator<'a, E>,
    pub(super) preview: Preview<E>,
    pub(super) records: Records,
    /// When the rows of the steps were written to the disk.
    pub(super) flushed: Instant,
    pub(super) progress: Progress,
    /// Why the run ends before its time, if it does.
    pub(super) early_stop: Option<EarlyStop>,
    /// The study's figures, if the run is comparable with them.
    pub(super) study: Option<Study>,
    /// Called when there are new results to show.
    pub(super) on_results: Option<&'a (dyn Fn() + Sync)>,
    pub(super) display: Display,
    /// What readers of the folder are told.
    pub(super) live: Live,
    /// The newest checkpoint: its file and its step.
    pub(super) newest: Option<(PathBuf, u64)>,
    /// When this process wrote it, or began.
    pub(super) saved: Instant,
    /// Whether the backend's remark was shown.
    pub(super) has_remarked: bool,
}

/// When picture, curve and report were renewed.
#[derive(Default)]
pub(super) struct Display {
    /// The last time, and how long it took.
    renewed: Option<(Instant, Duration)>,
}

impl Display {
    /// So long after the beginning of the process there is something to see.
    const FIRST: Duration = Duration::from_secs(2);
    /// At least this long until the next time, and so many times what the last one took.
    const EVERY: Duration = Duration::from_secs(30);
    const COST: u32 = 250;

    /// Whether it is time, in a process that began then.
    fn is_due(&self, begun: Instant) -> bool {
        match self.renewed {
            None => begun.elapsed() >= Display::FIRST,
            Some((last, took)) => last.elapsed() >= Display::EVERY.max(took * Display::COST),
        }
    }
}

impl<E: Element + From<f32> + Default> TrainingLoop<'_, E> {
    /// Trains to the end, and returns the last validation.
    ///
    /// At any position, the checkpoint is written before the validation. So a run that resumes validates first, and
    /// then goes on as the interrupted one would have.
    pub(super) fn run<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
    ) -> Result<Validation, TrainError> {
        let settings = self.stepper.settings;
        let run = &settings.run;
        let mut pace = Pace::new(settings, self.validator.images());
        let mut results = Vec::new();
        let begun = Instant::now();
        loop {
            let mut last = None;
            if self.stepper.reached(run.validate_every) {
                self.stepper.check_ranks(session)?;
                let started = Instant::now();
                if let Some(validation) = self.validate(session)? {
                    pace.validated(started.elapsed());
                    last = (self.stepper.is_done() || self.stops_early(session)?).then_some(validation);
                }
            }
            match (self.stepper.next(last.is_some()), last) {
                (Next::Stop(signal), _) => return Err(self.stop(session, signal)?.into()),
                (_, Some(validation)) => return Ok(validation),
                (_, None) => {}
            }
            self.advance(session, &mut pace, &mut results)?;
            if self.display.is_due(begun)
                && let Err(error) = self.renew_display(session)
            {
                // Nothing that is computed depends on it.
                self.progress.print_status(&format!("picture, curve and report were not renewed: {error}"));
                self.display.renewed = Some((Instant::now(), Duration::ZERO));
            }
            if self.stepper.reached(run.checkpoint_every) || self.is_checkpoint_due() {
                self.save(session)?;
            }
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        let minutes = self.stepper.settings.run.checkpoint_minutes;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= 60.0 * minutes
    }

    /// Whether the run ends here because its validation loss does not become lower; if so, makes sure that there is a
    /// checkpoint.
    fn stops_early<B: ImageBackend<Element = E>>(&mut self, session: &mut Session<B>) -> Result<bool, TrainError> {
        let Best { loss, samples, since } = self.records.best;
        let patience = self.stepper.settings.run.patience;
        if patience == 0 || since < patience {
            return Ok(false);
        }
        self.early_stop = Some(EarlyStop { validations: since, best: loss, best_samples: samples });
        self.save_unless_saved(session)?;
        Ok(true)
    }

    fn save_unless_saved<B: ImageBackend<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        let is_saved = self.newest.as_ref().is_some_and(|(_, step)| *step == self.stepper.position.step);
        if is_saved { Ok(()) } else { self.save(session) }
    }

    /// Makes sure that there is a checkpoint of this position.
    fn stop<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        signal: Signal,
    ) -> Result<Stopped, TrainError> {
        self.save_unless_saved(session)?;
        self.progress.finish();
        Ok(self.stepper.stopped(signal))
    }

    /// Takes some steps, writes them to the tables and shows them.
    fn advance<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        pace: &mut Pace,
        results: &mut Vec<StepResult>,
    ) -> Result<(), TrainError> {
        let advanced = self.stepper.advance(session, results);
        for step in results.drain(..) {
            self.log(step, pace)?;
        }
        match advanced {
            Err(TrainError::NotFinite(error)) => {
                self.records.metrics.flush()?;
                return Err(self.not_finite(error));
            }
            advanced => advanced?,
        }
        if let Some(remark) = session.backend().remark().filter(|_| !self.has_remarked) {
            self.has_remarked = true;
            self.progress.print_status(&remark);
        }
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flushed = Instant::now();
            self.records.metrics.flush()?;
            self.records.events.flush()?;
        }
        Ok(())
    }

    /// Writes a step to the tables, and shows it.
    fn log(&mut self, result: StepResult, pace: &mut Pace) -> Result<(), TrainError> {
        let StepResult { step, samples, batch, loss, lr, took, skipped } = result;
        if let Some(skipped) = skipped {
            self.progress.print_status(&skipped);
        }
        let row = [step.to_string(), samples.to_string(), (lr as f32).to_string(), (loss as f32).to_string()];
        self.records.metrics.row(&row)?;
        self.records.events.scalars(step, &[(TRAINING_LOSS, loss as f32), (LEARNING_RATE, lr as f32)])?;
        pace.stepped(batch, took, loss, samples);
        if let Some(duration) = pace.estimate() {
            self.progress.print_status(&format!("this takes {}", progress::about(duration)));
        }
        let update = ProgressUpdate {
            samples,
            loss: pace.loss,
            lr,
            images_per_second: pace.images_per_second(),
            remaining: pace.remaining(),
            whole_run: pace.time_from(0),
        };
        self.live = Live::expects(update.remaining, self.progress.left_in_sweep(&update));
        self.progress.update(&update);
        Ok(())
    }

    /// The error with the last checkpoint.
    fn not_finite(&self, error: NotFinite) -> TrainError {
        NotFinite { checkpoint: self.last_checkpoint().map(Path::to_owned), ..error }.into()
    }

    /// The newest checkpoint's file.
    pub(super) fn last_checkpoint(&self) -> Option<&Path> {
        self.newest.as_ref().map(|(path, _)| path.as_path())
    }

    /// Validates, adds a row to the table and draws the picture again. If the run is asked to stop meanwhile, it does
    /// none of that, and returns `None`.
    fn validate<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
    ) -> Result<Option<Validation>, TrainError> {
        self.progress.note("validating");
        let Some(validation) = self.validator.validate_unless(session, &|| stop::requested().is_some())? else {
            return Ok(None);
        };
        let Position { step, samples, .. } = self.stepper.position;
        let row = ValidationRow::new(samples, &validation);
        let ValidationRow { running, batch, .. } = row;
        self.records.validations.row(row.columns(step))?;
        self.records.validations.sync()?;
        let is_best = self.records.best.add(&row);
        if is_best {
            self.stepper.checkpoint(session, self.folder.best())?.write()?;
        }
        self.validator.errors().write(&self.folder.errors())?;
        self.renew_display(session)?;
        self.records.events.scalars(step, &row.scalars())?;
        let picture = files::read_bytes(&self.folder.picture(), MAX_PICTURE_BYTES)?;
        self.records.events.picture(step, RECONSTRUCTION, picture)?;
        self.records.events.flush()?;
        self.progress.print_status(&format!(
            "validation after {samples} images: {running:.5} with running statistics, {batch:.5} with batch statistics"
        ));
        let Best { loss, samples: best_samples, since } = self.records.best;
        let best = match loss {
            Some(_) if since == 0 => "the best so far".to_owned(),
            Some(best) => format!("the best was {best:.5} after {best_samples} images, {since} validations before"),
            None => "none was finite so far".to_owned(),
        };
        self.progress.print_detail(&format!("{validation}\n{best}"));
        Ok(Some(validation))
    }

    /// Draws the picture and the curve again, and has the report renewed. It changes nothing that is computed.
    fn renew_display<B: ImageBackend<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        let begun = Instant::now();
        self.preview.write(session, &self.folder.picture())?;
        self.records.metrics.flush()?;
        let settings = self.stepper.settings;
        draw_curve(self.folder, settings, &log::read(&self.folder.metrics())?, self.study)?;
        self.live.write(&self.folder.live())?;
        if let Some(on_results) = self.on_results {
            on_results();
        }
        self.display.renewed = Some((Instant::now(), begun.elapsed()));
        Ok(())
    }

    /// Writes a checkpoint. The tables are written first, so that they have at least the checkpoint's rows.
    fn save<B: ImageBackend<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        self.folder.check_lock(self.lock)?;
        self.records.metrics.sync()?;
        self.records.events.flush()?;
        let path = self.folder.checkpoint();
        let checkpoint = self.stepper.checkpoint(session, path.clone())?;
        if let Some(name) = checkpoint.non_finite() {
            let what = format!("`{name}` became NaN or infinite");
            let Position { step, samples, .. } = self.stepper.position;
            return Err(self.not_finite(NotFinite { what, step, samples, origin: None, checkpoint: None }));
        }
        // Only a checkpoint of that name is in the way.
        let before = self.newest.as_ref().filter(|(newest, _)| *newest == path).map(|(_, step)| *step);
        self.folder.put_checkpoint(&checkpoint, before, self.stepper.settings.run.keep_checkpoints)?;
        let Position { step, samples, .. } = self.stepper.position;
        self.progress.print_detail(&format!("checkpoint after step {step} ({samples} images): {}", path.display()));
        (self.newest, self.saved) = (Some((path, step)), Instant::now());
        Ok(())
    }
}
