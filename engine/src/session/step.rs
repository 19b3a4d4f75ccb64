//! Training steps, which the host may start before it knows the results of earlier ones.

use super::{Session, Step};
use crate::plan::Purpose;
use crate::regions::{FAILED, FLAGS, GRADIENT_SUMS, GRADIENTS, KEPT_STATES, LOSS_SUM, STATES, STEP_RESULTS};
use crate::{Error, PlanId, Result};
use kernels::add::Scale;
use kernels::finite::{CopyIf, Find};
use kernels::{Backend, Context, Element, Region, Span, Write};

/// A training step that has been started.
#[derive(Clone, Copy)]
pub(super) struct Started {
    pub(super) step: Step,
    /// The number of its optimizer step.
    pub(super) number: u64,
    /// Runs of training plans that are part of it.
    runs: u64,
    /// Where its gradients are.
    gradients: Region,
}

impl<B: Backend> Session<B> {
    /// Starts a training step: a run of the plan, and an optimizer step. Up to [`STEPS_AHEAD`] steps can be started
    /// before [`finish_steps`](Self::finish_steps) returns their results, so that a GPU computes without a break.
    ///
    /// If the loss, a gradient or the norm of all gradients is NaN or infinite, or a parameter, optimizer state or
    /// state would become so, the step fails: it and the steps started after it change no parameter, average, optimizer
    /// state or state. After `finish_steps` the session is as it was before the first step that failed.
    ///
    /// # Errors
    /// As [`run`](Self::run); also if the plan is not a training plan, a constant of the step is out of its range, too
    /// many steps have been started, there are [accumulated](Self::accumulate) gradients, or averages are in the place
    /// of the parameters.
    ///
    /// [`STEPS_AHEAD`]: Backend::STEPS_AHEAD
    pub fn start_step(&mut self, plan: PlanId, step: &Step) -> Result<()> {
        let loss = self.place_of_loss(plan)?;
        self.check_nothing_accumulated()?;
        self.check_start(step)?;
        self.keep_states();
        self.run(plan)?;
        self.start(step, loss, GRADIENTS, 1);
        Ok(())
    }

    /// Runs a training plan on a micro-batch, and adds `weight` times its loss and gradients to sums, which
    /// [`start_accumulated_step`](Self::start_accumulated_step) or [`update`](Self::update) uses. `k` micro-batches of
    /// equal size, each with weight `1 / k`, have the gradient of a batch of all their images; batch normalization sees
    /// one micro-batch at a time. [`gradient`](Self::gradient) returns that of the micro-batch.
    ///
    /// # Errors
    /// As [`run`](Self::run); also if the plan is not a training plan, the weight is not finite, the session does not
    /// [accumulate](crate::SessionOptions::accumulate), or averages are in the place of the parameters.
    pub fn accumulate(&mut self, plan: PlanId, weight: f64) -> Result<()> {
        let loss = self.place_of_loss(plan)?;
        self.check_swapped()?;
        if !self.options.accumulate {
            return Err(Error::NotAllocated { what: "sum of gradients", option: "accumulate" });
        }
        if !weight.is_finite() {
            return Err(Error::Optimizer { of: "accumulate", argument: "weight", value: weight, expected: "finite" });
        }
        if self.accumulated == 0 {
            self.keep_states();
        }
        self.run(plan)?;
        let write = if self.accumulated == 0 { Write::Set } else { Write::Add };
        let [gradients, sums] = [GRADIENTS, GRADIENT_SUMS].map(|region| self.trained(region));
        for (x, y) in [(loss, LOSS_SUM), (gradients, sums)] {
            self.backend.run(&mut self.memory, &Scale { weight, x, y, write }.into(), Context::NONE);
        }
        self.accumulated += 1;
        Ok(())
    }

    /// Starts a training step with the gradients [accumulated](Self::accumulate) since the last one. It is taken, or
    /// fails, as [`start_step`](Self::start_step) says: if it fails, the session is as it was before the first of its
    /// micro-batches. Its loss is the sum of theirs, each times its weight.
    ///
    /// # Errors
    /// If nothing is accumulated; and as [`start_step`](Self::start_step).
    pub fn start_accumulated_step(&mut self, step: &Step) -> Result<()> {
        self.check_start(step)?;
        if self.accumulated == 0 {
            return Err(Error::NoGradients);
        }
        self.start(step, LOSS_SUM, GRADIENT_SUMS, self.accumulated);
        Ok(())
    }

    /// # Errors
    /// If a step cannot be started.
    fn check_start(&self, step: &Step) -> Result<()> {
        self.check_step(step)?;
        match self.steps_ahead.len() == B::STEPS_AHEAD {
            true => Err(Error::TooManySteps { limit: B::STEPS_AHEAD }),
            false => Ok(()),
        }
    }

    /// # Errors
    /// If there are gradients that only [`start_accumulated_step`](Self::start_accumulated_step) uses.
    pub(super) fn check_nothing_accumulated(&self) -> Result<()> {
        if self.accumulated > 0 { Err(Error::Accumulated { runs: self.accumulated }) } else { Ok(()) }
    }

    /// Takes an optimizer step with the gradients in a region, unless that or an earlier one fails, and keeps what it
    /// comes to. It ends `runs` runs of training plans; states are kept from before the first.
    fn start(&mut self, step: &Step, loss: Span, gradients: Region, runs: u64) {
        if self.steps_ahead.is_empty() {
            self.backend.fill(&mut self.memory, FAILED, 0.0);
        }
        for values in [loss, Span::new(STATES, 0, self.layout.states)] {
            self.raise_unless_finite(values, FAILED);
        }
        self.take(step, gradients, FAILED);
        let [from, to] = [KEPT_STATES, STATES].map(|region| Span::new(region, 0, self.layout.states));
        self.backend.run(&mut self.memory, &CopyIf { flag: FAILED, from, to }.into(), Context::NONE);
        let [failed, loss_of_step] =
            [STEP_RESULTS, STEP_RESULTS + B::STEPS_AHEAD].map(|of| Span::new(FLAGS, of + self.steps_ahead.len(), 1));
        self.copy(FAILED, failed);
        self.copy(loss, loss_of_step);
        self.steps_ahead.push(Started { step: *step, number: self.optimizer_step, runs, gradients });
    }

    /// Waits for the steps started since the last call, and writes their losses to `losses`, in order. Returns true if
    /// all of them were taken. Returns false if one failed: the last of `losses` is its loss, the session is as it was
    /// before that step, and later steps were not taken. What has been [accumulated](Self::accumulate) since is dropped
    /// then.
    #[must_use = "steps may have failed"]
    pub fn finish_steps(&mut self, losses: &mut Vec<f64>) -> bool {
        losses.clear();
        self.failed_step = None;
        let steps = self.steps_ahead.len();
        if steps == 0 {
            return true;
        }
        let read = Span::new(FLAGS, 0, self.flags.len());
        self.backend.read(&self.memory, read, &mut self.flags);
        let (failed, all) = self.flags[STEP_RESULTS..].split_at(B::STEPS_AHEAD);
        let first_failed = failed[..steps].iter().position(|flag| flag.to_f64() != 0.0);
        losses.extend(all[..first_failed.map_or(steps, |step| step + 1)].iter().map(|loss| loss.to_f64()));
        if let Some(first_failed) = first_failed {
            let undone = &self.steps_ahead[first_failed..];
            // Sums of gradients may be those of a later step.
            self.failed_step = Some(undone[0]).filter(|failed| failed.gradients == GRADIENTS);
            self.optimizer_step -= undone.len() as u64;
            self.training_runs -= undone.iter().map(|step| step.runs).sum::<u64>() + self.accumulated;
            if self.accumulated > 0 {
                self.restore_states();
                self.accumulated = 0;
            }
        }
        self.steps_ahead.clear();
        first_failed.is_none()
    }

    /// Where the loss of a training plan is.
    ///
    /// # Errors
    /// If there is no such plan, or it is not for training.
    fn place_of_loss(&self, plan: PlanId) -> Result<Span> {
        match self.ready(plan)?.plan.purpose {
            Purpose::Training { loss, .. } => Ok(self.place_of_node(plan, loss).expect("the loss is computed")),
            _ => Err(Error::NotTraining { plan }),
        }
    }

    /// Raises a flag if a value is not finite.
    pub(super) fn raise_unless_finite(&mut self, values: Span, flag: Span) {
        self.backend.run(&mut self.memory, &Find { values, flag }.into(), Context::NONE);
    }

    /// Keeps a copy of every state.
    pub(super) fn keep_states(&mut self) {
        self.copy_states(STATES, KEPT_STATES);
    }

    /// Sets every state back to the copy kept last.
    pub(super) fn restore_states(&mut self) {
        self.copy_states(KEPT_STATES, STATES);
    }

    fn copy_states(&mut self, from: Region, to: Region) {
        let [from, to] = [from, to].map(|region| Span::new(region, 0, self.layout.states));
        self.copy(from, to);
    }

    pub(super) fn copy(&mut self, from: Span, to: Span) {
        let copy = Scale { weight: 1.0, x: from, y: to, write: Write::Set };
        self.backend.run(&mut self.memory, &copy.into(), Context::NONE);
    }
}
