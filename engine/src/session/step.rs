//! Training steps, which the host may start before it knows the results of earlier ones.

use super::{Session, Step};
use crate::plan::Purpose;
use crate::regions::{FAILED, FLAGS, KEPT_STATES, STATES, STEP_RESULTS};
use crate::{Error, PlanId, Result};
use kernels::add::Scale;
use kernels::finite::{CopyIf, Find};
use kernels::{Backend, Context, Element, Region, Span, Write};

impl<B: Backend> Session<B> {
    /// Starts a training step: a run of the plan, and an optimizer step. Up to [`STEPS_AHEAD`] steps can be started
    /// before [`finish_steps`](Self::finish_steps) returns their results, so that a GPU computes without a break.
    ///
    /// If the loss or a gradient is NaN or infinite, or a parameter, optimizer state or state would become so, the step
    /// fails: it and the steps started after it change no parameter, optimizer state or state. After `finish_steps` the
    /// session is as it was before the first step that failed.
    ///
    /// # Errors
    /// As [`run`](Self::run); also if the plan is not a training plan, or too many steps have been started.
    ///
    /// [`STEPS_AHEAD`]: Backend::STEPS_AHEAD
    pub fn start_step(&mut self, plan: PlanId, step: &Step) -> Result<()> {
        let ready = self.ready(plan)?;
        let loss = match ready.plan.purpose {
            Purpose::Training { loss, .. } => self.place_of_node(plan, loss).expect("the loss is computed"),
            _ => return Err(Error::NotTraining { plan }),
        };
        step.check()?;
        if self.steps_ahead.len() == B::STEPS_AHEAD {
            return Err(Error::TooManySteps { limit: B::STEPS_AHEAD });
        }
        if self.steps_ahead.is_empty() {
            self.backend.fill(&mut self.memory, FAILED, 0.0);
        }
        self.keep_states();
        self.run(plan)?;
        for values in [loss, Span::new(STATES, 0, self.layout.states)] {
            self.backend.run(&mut self.memory, &Find { values, flag: FAILED }.into(), Context::NONE);
        }
        let number = self.optimizer_step + 1;
        for i in 0..self.layout.groups.len() {
            self.check_step(step, number, self.layout.groups[i], FAILED);
        }
        self.optimize(step, FAILED);
        let [from, to] = [KEPT_STATES, STATES].map(|region| Span::new(region, 0, self.layout.states));
        self.backend.run(&mut self.memory, &CopyIf { flag: FAILED, from, to }.into(), Context::NONE);
        let [failed, loss_of_step] =
            [STEP_RESULTS, STEP_RESULTS + B::STEPS_AHEAD].map(|of| Span::new(FLAGS, of + self.steps_ahead.len(), 1));
        self.copy(FAILED, failed);
        self.copy(loss, loss_of_step);
        self.steps_ahead.push((*step, number));
        Ok(())
    }

    /// Waits for the steps started since the last call, and writes their losses to `losses`, in order. Returns true if
    /// all of them were taken. Returns false if one failed: the last of `losses` is its loss, the session is as it was
    /// before that step, and later steps were not taken.
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
            self.failed_step = Some(self.steps_ahead[first_failed]);
            self.optimizer_step -= (steps - first_failed) as u64;
            self.training_runs -= (steps - first_failed) as u64;
        }
        self.steps_ahead.clear();
        first_failed.is_none()
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

    fn copy(&mut self, from: Span, to: Span) {
        let copy = Scale { weight: 1.0, x: from, y: to, write: Write::Set };
        self.backend.run(&mut self.memory, &copy.into(), Context::NONE);
    }
}
