//! What a step does to the parameters: it clips the gradients, takes the optimizer's step and averages the parameters.

use super::{Session, Step};
use crate::graph::Group;
use crate::regions::{AVERAGES, FIRST_MOMENTS, GRADIENT_SUMS, GRADIENTS, NORM, PARAMETERS, SECOND_MOMENTS};
use crate::{Error, Result};
use kernels::clip_norm::Clip;
use kernels::{Backend, Call, Context, Element, Region, Span, ema};

impl<B: Backend> Session<B> {
    /// Takes an optimizer step with the gradients of the last run, or with those that have been
    /// [accumulated](Self::accumulate): one pass over the parameters of each [group](crate::Group), which allocates
    /// nothing. [`start_step`](Self::start_step) runs a plan, too, and refuses a step that is not finite.
    ///
    /// Parameters on which the loss does not depend have gradient 0, so weight decay still shrinks them.
    ///
    /// # Errors
    /// If no plan with gradients has run since the last optimizer step, a constant is out of its range, or averages are
    /// in the place of the parameters.
    pub fn update(&mut self, step: &Step) -> Result<()> {
        self.check_step(step)?;
        let gradients = match (self.accumulated, self.has_gradients) {
            (0, false) => return Err(Error::NoGradients),
            (0, true) => GRADIENTS,
            _ => GRADIENT_SUMS,
        };
        self.take(step, gradients, Span::EMPTY);
        Ok(())
    }

    /// Norm of all gradients in the step that was taken last, or started last, before they were clipped.
    ///
    /// # Errors
    /// If no step with a [`clip_norm`](Step::clip_norm) has been taken.
    pub fn gradient_norm(&self) -> Result<f64> {
        if !self.has_norm {
            return Err(Error::NoNorm);
        }
        let mut norm = [B::Element::from_f64(0.0)];
        self.backend.read(&self.memory, NORM, &mut norm);
        Ok(norm[0].to_f64())
    }

    /// Exchanges the parameters and their averages: until it is called again, plans run with the averages,
    /// [`tensor`](Self::tensor) returns them, and [`average`](Self::average) returns the parameters. Meanwhile there
    /// are no training steps. The second call restores every bit.
    ///
    /// # Errors
    /// If the session keeps no [averages](crate::SessionOptions::average).
    pub fn swap_averages(&mut self) -> Result<()> {
        self.check_average()?;
        let [a, b] = [PARAMETERS, AVERAGES].map(|region| self.trained(region));
        self.backend.run(&mut self.memory, &ema::Swap { a, b }.into(), Context::NONE);
        self.is_swapped = !self.is_swapped;
        Ok(())
    }

    /// # Errors
    /// If a constant of the step is out of its range, or the session cannot take it.
    pub(super) fn check_step(&self, step: &Step) -> Result<()> {
        step.check()?;
        if step.average.is_some() {
            self.check_average()?;
        }
        self.check_swapped()
    }

    /// # Errors
    /// If the session keeps no averages.
    pub(super) fn check_average(&self) -> Result<()> {
        match self.options.average {
            true => Ok(()),
            false => Err(Error::NotAllocated { what: "averages", option: "average" }),
        }
    }

    /// # Errors
    /// If the averages are in the place of the parameters.
    pub(super) fn check_swapped(&self) -> Result<()> {
        if self.is_swapped { Err(Error::Swapped) } else { Ok(()) }
    }

    /// Takes the next optimizer step with the gradients in a region. If there is a flag, raises it where a value would
    /// not be finite, and does nothing if it is up.
    pub(super) fn take(&mut self, step: &Step, gradients: Region, flag: Span) {
        self.optimizer_step += 1;
        self.has_gradients = false;
        self.accumulated = 0;
        if let Some(max_norm) = step.clip_norm {
            self.clip(max_norm, gradients, flag);
        }
        let number = self.optimizer_step;
        if !flag.is_empty() {
            for i in 0..self.layout.groups.len() {
                self.check_update(step, number, self.layout.groups[i], gradients, flag);
            }
        }
        for &(group, of) in &self.layout.groups {
            let pass = step.pass(number, group, operands(of, gradients), flag);
            self.backend.run(&mut self.memory, &pass, Context::NONE);
        }
        if let Some(decay) = step.average {
            let [param, average] = [PARAMETERS, AVERAGES].map(|region| self.trained(region));
            let average = ema::Step { decay, param, average, unless: flag };
            self.backend.run(&mut self.memory, &average.into(), Context::NONE);
        }
    }

    /// Scales the gradients in a region down to a norm. If there is a flag, raises it if the norm is not finite.
    pub(super) fn clip(&mut self, max_norm: f64, gradients: Region, flag: Span) {
        let mut norm: Call = self.layout.norm(gradients).into();
        let workspace = Span { len: self.backend.prepare(&mut norm), ..self.workspace };
        self.backend.run(&mut self.memory, &norm, Context::with_workspace(workspace));
        if !flag.is_empty() {
            self.raise_unless_finite(NORM, flag);
        }
        let clip = Clip { max_norm, norm: NORM, x: self.trained(gradients) };
        self.backend.run(&mut self.memory, &clip.into(), Context::NONE);
        self.has_norm = true;
    }

    /// Raises a flag if optimizer step `number` would leave a value that is not finite in a part of a group's
    /// parameters, or in the optimizer state of this part.
    pub(super) fn check_update(
        &mut self,
        step: &Step,
        number: u64,
        (group, of): (Group, Span),
        gradients: Region,
        flag: Span,
    ) {
        let pass = step.check_pass(number, group, operands(of, gradients), flag);
        self.backend.run(&mut self.memory, &pass, Context::NONE);
    }

    /// The part of a region that belongs to the parameters that are trained.
    pub(super) fn trained(&self, region: Region) -> Span {
        Span::new(region, 0, self.layout.trained)
    }
}

/// The operands of an optimizer's pass over a part of the region of parameters.
fn operands(of: Span, gradients: Region) -> [Span; 4] {
    [PARAMETERS, gradients, FIRST_MOMENTS, SECOND_MOMENTS].map(|region| Span { region, ..of })
}
