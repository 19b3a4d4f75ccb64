//! The training steps of a run, as every rank takes them.

use super::backend::ImageBackend;
use super::checkpoint::{self, Checkpoint, Position, RunState};
use super::error::{NotFinite, RankError, Stopped, TrainError};
use super::plans::NetworkPlan;
use crate::settings::{OnNan, ScheduleSetting, Settings};
use crate::system::ranks::Ranks;
use crate::system::stop::{self, Signal};
use crate::tasks::TrainingBatches;
use engine::{AdamW, Element, Schedule, ScheduleKind, Session, Step};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Takes the steps of a run, on one of its ranks.
pub(super) struct Stepper<'a, E> {
    pub(super) settings: &'a Settings,
    pub(super) ranks: Ranks,
    pub(super) position: Position,
    /// Batches that the running statistics had seen before the run.
    batches_before: u64,
    schedule: Schedule,
    optimizer: AdamW,
    batches: TrainingBatches<'a>,
    /// The plan for full batches, if there are any, and the one for a smaller last batch, if there is one.
    steps: Vec<NetworkPlan>,
    input: Vec<E>,
    target: Vec<E>,
    /// The losses of the steps that were started last.
    losses: Vec<f64>,
}

/// Steps may be started before earlier ones have ended, but only for this long: signals, checkpoints and the display
/// wait for all of them.
const LONGEST_AHEAD: Duration = Duration::from_millis(200);

/// The result of a step.
pub(super) struct StepResult {
    /// Its number, from 1.
    pub(super) step: u64,
    /// Images that the run has seen after it.
    pub(super) samples: u64,
    /// Images of the batch, on all ranks.
    pub(super) batch: usize,
    pub(super) loss: f64,
    pub(super) lr: f64,
    pub(super) took: Duration,
    /// Why it changed nothing, if that is to be shown.
    pub(super) skipped: Option<String>,
}

/// What comes next on all ranks.
pub(super) enum Next {
    Step,
    /// The run is at its end: the leader has all results.
    End,
    Stop(Signal),
}

impl<'a, E: Element + From<f32> + Default> Stepper<'a, E> {
    pub(super) fn new(
        settings: &'a Settings,
        ranks: Ranks,
        batches: TrainingBatches<'a>,
        steps: Vec<NetworkPlan>,
        position: Position,
        batches_before: u64,
    ) -> Stepper<'a, E> {
        let training = &settings.training;
        let [input, target] = batches.elements().map(|elements| vec![E::default(); steps[0].images.len() * elements]);
        Stepper {
            settings,
            ranks,
            schedule: schedule(settings, &position),
            position,
            batches_before,
            optimizer: AdamW { weight_decay: training.weight_decay, ..AdamW::default() },
            batches,
            steps,
            input,
            target,
            losses: Vec::new(),
        }
    }

    /// Takes the steps of a rank that does not lead, to the end of the run.
    pub(super) fn follow<B: ImageBackend<Element = E>>(&mut self, session: &mut Session<B>) -> Result<(), TrainError> {
        let mut results = Vec::new();
        loop {
            if self.reached(self.settings.run.validate_every) {
                self.check_ranks(session)?;
            }
            match self.next(false) {
                Next::End => return Ok(()),
                Next::Stop(signal) => return Err(self.stopped(signal).into()),
                Next::Step => self.advance(session, &mut results)?,
            }
        }
    }

    /// Agrees on what comes next: the end as soon as the leader `is_done`, otherwise a stop if any rank is asked to.
    pub(super) fn next(&self, is_done: bool) -> Next {
        let number = |signal: Option<Signal>| signal.map_or(0, Signal::exit_code);
        let all = self.ranks.gather([u8::from(is_done), number(stop::requested())]);
        if all.iter().any(|[is_done, _]| *is_done == 1) {
            return Next::End;
        }
        let asked = all.iter().find_map(|[_, code]| Signal::of_exit_code(*code));
        asked.map_or(Next::Step, Next::Stop)
    }

    pub(super) fn stopped(&self, signal: Signal) -> Stopped {
        let Position { step, samples, .. } = self.position;
        Stopped { signal, step, samples, out: self.settings.out() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.position.samples == self.settings.training.samples
    }

    /// Whether the last step reached a multiple of `every` images, or the end.
    pub(super) fn reached(&self, every: u64) -> bool {
        has_reached(self.settings, &self.position, every)
    }

    /// Takes as many steps as the device should be given at a time, up to the next validation or checkpoint. `results`
    /// has one for each of them. After an error it has those of the steps before the one that failed.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] if a loss or gradient is not finite, unless such a step is to be skipped; the run is
    /// then at the step before.
    pub(super) fn advance<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        results: &mut Vec<StepResult>,
    ) -> Result<(), TrainError> {
        results.clear();
        let begun = Instant::now();
        // Ranks must agree on the number of steps, and their clocks do not.
        let most = if self.ranks.count() == 1 { B::STEPS_AHEAD } else { 1 };
        loop {
            let plan = self.plan();
            self.write_batch(session, &plan)?;
            let lr = self.schedule.lr(self.position.step);
            let clip_norm = self.settings.training.clip_grad_norm;
            session.start_step(plan.id, &Step { clip_norm, ..Step::new(self.optimizer, lr) })?;
            self.position.step += 1;
            self.position.samples += plan.batch as u64;
            let Position { step, samples, .. } = self.position;
            let (batch, loss, took) = (plan.batch, f64::NAN, Duration::ZERO);
            results.push(StepResult { step, samples, batch, loss, lr, took, skipped: None });
            let is_full = results.len() == most || begun.elapsed() >= LONGEST_AHEAD;
            let run = &self.settings.run;
            if is_full || self.reached(run.validate_every) || self.reached(run.checkpoint_every) {
                break;
            }
        }
        // All ranks have the same losses and gradients.
        let taken = session.finish_steps(&mut self.losses);
        let constant = self.settings.training.loss.constant();
        let took = begun.elapsed();
        self.position.seconds += took.as_secs_f64();
        results.truncate(self.losses.len());
        for (step, &loss) in results.iter_mut().zip(&self.losses) {
            (step.loss, step.took) = (loss + constant, took / self.losses.len() as u32);
        }
        if let Some(failed) = results.pop_if(|_| !taken) {
            (self.position.step, self.position.samples) = (failed.step - 1, failed.samples - failed.batch as u64);
            let skipped = self.not_finite(session, failed.loss)?;
            (self.position.step, self.position.samples) = (failed.step, failed.samples);
            results.push(StepResult { skipped, ..failed });
        }
        Ok(())
    }

    /// The plan for the next batch.
    fn plan(&self) -> NetworkPlan {
        let left = self.settings.training.samples - self.position.samples;
        let fits = |plan: &&NetworkPlan| plan.batch as u64 <= left;
        self.steps.iter().find(fits).expect("the plans cover the run's images exactly").clone()
    }

    /// Writes the batch at this position.
    fn write_batch<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        plan: &NetworkPlan,
    ) -> Result<(), TrainError> {
        let [damaged, whole] = self.batches.elements().map(|elements| plan.images.len() * elements);
        let (input, target) = (&mut self.input[..damaged], &mut self.target[..whole]);
        self.batches.fill(self.position.samples + plan.images.start as u64, input, target)?;
        Ok(plan.write(session, input, target)?)
    }

    /// Handles a step from this position whose loss or gradients were not finite, and which changed nothing: fails,
    /// unless such steps are skipped. Returns the message to show about a skipped step.
    fn not_finite<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        loss: f64,
    ) -> Result<Option<String>, TrainError> {
        let skip = self.settings.run.on_nan == OnNan::Skip;
        // Once the count is large, one message in many is enough, and so is one search.
        if skip && self.position.skipped > 0 && !(self.position.skipped + 1).is_power_of_two() {
            self.position.skipped += 1;
            return Ok(None);
        }
        let plan = self.plan();
        // Later batches may have been written since.
        self.write_batch(session, &plan)?;
        let origin = session.find_non_finite(plan.id)?;
        let what = match (&origin, loss.is_finite()) {
            (_, false) => format!("the loss became {loss}"),
            (Some(engine::NonFinite::Updated { name }), true) => {
                format!("`{name}` or its optimizer state would become NaN or infinite")
            }
            (_, true) => "a gradient became NaN or infinite".to_owned(),
        };
        let (step, samples) = (self.position.step + 1, self.position.samples + plan.batch as u64);
        let origin = origin.map(Box::new);
        let error = NotFinite { what, step, samples, origin, checkpoint: None };
        if skip {
            self.position.skipped += 1;
            return Ok(Some(format!("skipping a step: {}; skipped so far: {}", error.place(), self.position.skipped)));
        }
        Err(error.into())
    }

    /// Makes sure that all ranks have the same state.
    ///
    /// # Errors
    /// [`RankError::OtherWeights`], on every rank.
    pub(super) fn check_ranks<B: ImageBackend<Element = E>>(&self, session: &Session<B>) -> Result<(), TrainError> {
        if self.ranks.count() == 1 {
            return Ok(());
        }
        let fingerprints = self.ranks.gather(self.checkpoint(session, PathBuf::new())?.fingerprint());
        match fingerprints.iter().position(|fingerprint| *fingerprint != fingerprints[0]) {
            Some(rank) => Err(RankError::OtherWeights { rank, step: self.position.step }.into()),
            None => Ok(()),
        }
    }

    /// The run as it is, for the file `path`.
    pub(super) fn checkpoint<B: ImageBackend<Element = E>>(
        &self,
        session: &Session<B>,
        path: PathBuf,
    ) -> Result<Checkpoint, TrainError> {
        let mut tensors = checkpoint::state_dict(session, self.batches_seen())?;
        tensors.extend(checkpoint::optimizer_state(session)?);
        let run = RunState { settings: self.settings.clone(), position: Some(self.position.clone()) };
        Ok(Checkpoint { path, tensors, run: Some(run) })
    }

    /// Batches that the running statistics have seen.
    pub(super) fn batches_seen(&self) -> u64 {
        self.batches_before + self.position.updates()
    }
}

/// Whether the last step before a position reached a multiple of `every` images, or the end. A step that ended a
/// shorter run may have been of fewer images than a batch: there, too, it is as if it had been a whole one.
pub(super) fn has_reached(settings: &Settings, position: &Position, every: u64) -> bool {
    let (samples, training) = (position.samples, &settings.training);
    let before = samples.saturating_sub(training.batch as u64);
    samples == training.samples || (every > 0 && samples / every > before / every)
}

/// The images that the training plans of a run are for, if it goes on after `seen` images: all, or those that are left
/// if it was lengthened after a smaller last batch.
pub(super) fn images_to_plan(settings: &Settings, seen: u64) -> u64 {
    let training = &settings.training;
    let is_between_batches = seen.is_multiple_of(training.batch as u64) || seen == training.samples;
    if is_between_batches { training.samples } else { training.samples - seen }
}

/// The learning rate over a run that is at `position`. That of a run which was lengthened is as if it had always been
/// that long.
pub(super) fn schedule(settings: &Settings, position: &Position) -> Schedule {
    let training = &settings.training;
    let steps = |samples: u64| samples.div_ceil(training.batch as u64);
    let total_steps = position.step + steps(training.samples.saturating_sub(position.samples));
    let kind = match training.schedule {
        ScheduleSetting::Cosine => ScheduleKind::Cosine,
        ScheduleSetting::Constant => ScheduleKind::Constant,
    };
    Schedule { base_lr: training.lr, kind, warmup_steps: steps(training.warmup), total_steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Fit};
    use crate::tasks::Samples;
    use crate::train::plans::{PlanKind, Plans};
    use engine::Reference;
    use engine::collective::Threads;

    /// Calls `f` on each of three ranks of a small run.
    fn on_three_ranks(lr: f64, on_nan: OnNan, f: impl Fn(&mut Stepper<'_, f64>, &mut Session<Reference>) + Sync) {
        let mut settings = Settings::default();
        settings.network.layers = 1;
        settings.network.channels = 2.into();
        (settings.training.size, settings.training.batch, settings.training.lr) = (8, 4, lr);
        settings.run.on_nan = on_nan;
        let images = Dataset::of_classes((0..20 * 784).map(|i| (i % 251) as u8).collect(), vec![0; 20]);
        Threads::run(3, |communicator| {
            let ranks = Ranks::new(communicator);
            let mut plans = Plans::for_rank(&settings, ranks.clone()).unwrap();
            let steps = plans.cover(PlanKind::Training, 4, settings.training.samples).unwrap();
            let mut session = plans.session(Reference).unwrap();
            session.initialize(0);
            let position =
                Position { step: 0, samples: 0, seconds: 0.0, skipped: 0, missing: 0, backend: String::new() };
            let samples = Samples { images: &images, size: 8, fit: Fit::Resize, task: &settings.training.task };
            let batches = TrainingBatches::new(samples, 0, false);
            f(&mut Stepper::new(&settings, ranks, batches, steps, position, 0), &mut session);
        });
    }

    /// On several ranks, it is one step at a time.
    fn take_steps(stepper: &mut Stepper<'_, f64>, session: &mut Session<Reference>, steps: usize) -> Vec<StepResult> {
        let mut results = Vec::new();
        for _ in 0..steps {
            stepper.advance(session, &mut results).unwrap();
        }
        results
    }

    #[test]
    fn ranks_that_have_drifted_apart_are_found() {
        on_three_ranks(1e-3, OnNan::Stop, |stepper, session| {
            take_steps(stepper, session, 3);
            stepper.check_ranks(session).unwrap();
            if stepper.ranks.rank() == 2 {
                let name = "encoder.layer_1.conv.bias";
                let mut bias = session.tensor(name).unwrap();
                bias[0] = bias[0].next_up();
                session.set_tensor(name, &bias).unwrap();
            }
            let error = stepper.check_ranks(session).unwrap_err();
            assert!(matches!(error, TrainError::Ranks(RankError::OtherWeights { rank: 2, step: 3 })), "{error}");
            assert!(error.is_of_all_ranks());
        });
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_all_ranks_at_the_same_step() {
        on_three_ranks(1e300, OnNan::Stop, |stepper, session| {
            let error = (0..10)
                .find_map(|_| stepper.advance(session, &mut Vec::new()).err())
                .expect("weights beyond all measure");
            let steps = stepper.ranks.gather(stepper.position.step.to_le_bytes());
            assert!(steps.iter().all(|step| *step == steps[0]));
            assert!(matches!(error, TrainError::NotFinite(_)) && error.is_of_all_ranks(), "{error}");
        });
    }

    #[test]
    fn a_skipped_step_leaves_the_running_statistics_as_they_were() {
        on_three_ranks(1e-3, OnNan::Skip, |stepper, session| {
            take_steps(stepper, session, 3);
            let read = |session: &Session<Reference>| session.tensor("decoder.layer_1.bn.running_mean").unwrap();
            let before = read(session);
            assert!(before.iter().any(|mean| *mean != 0.0));
            session.set_tensor("encoder.layer_1.conv.bias", &[f64::NAN; 2]).unwrap();
            let [step] = &take_steps(stepper, session, 1)[..] else { panic!("one step") };
            assert!(step.skipped.is_some() && stepper.position.step == 4 && stepper.position.skipped == 1);
            assert_eq!(read(session), before);
        });
    }

    #[test]
    fn the_leader_s_end_comes_before_all_else() {
        on_three_ranks(1e-3, OnNan::Stop, |stepper, _| {
            assert!(matches!(stepper.next(false), Next::Step));
            assert!(matches!(stepper.next(stepper.ranks.is_leader()), Next::End));
        });
    }
}
