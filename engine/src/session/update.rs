//! The optimizer's step over all parameters.

use super::{Session, Step};
use crate::graph::Group;
use crate::regions::{FIRST_MOMENTS, GRADIENTS, PARAMETERS, SECOND_MOMENTS};
use crate::{Error, Result};
use kernels::{Backend, Context, Span};

impl<B: Backend> Session<B> {
    /// Takes an optimizer step with the gradients of the last run: one pass over the parameters of each
    /// [group](crate::Group), which allocates nothing. [`start_step`](Self::start_step) runs a plan, too, and refuses a step that is not finite.
    ///
    /// Parameters on which the loss does not depend have gradient 0, so weight decay still shrinks them.
    ///
    /// # Errors
    /// If no plan with gradients has run since the last optimizer step, or a constant is out of its range.
    pub fn update(&mut self, step: &Step) -> Result<()> {
        step.check()?;
        if !self.has_gradients {
            return Err(Error::NoGradients);
        }
        self.optimize(step, Span::EMPTY);
        Ok(())
    }

    /// Takes the next optimizer step, unless the flag is raised.
    pub(super) fn optimize(&mut self, step: &Step, unless: Span) {
        self.optimizer_step += 1;
        self.has_gradients = false;
        for &(group, of) in &self.layout.groups {
            let pass = step.pass(self.optimizer_step, group, operands(of), unless);
            self.backend.run(&mut self.memory, &pass, Context::NONE);
        }
    }

    /// Raises a flag if optimizer step `number` would leave a value that is not finite in a part of a group's
    /// parameters, or in the optimizer state of this part.
    pub(super) fn check_step(&mut self, step: &Step, number: u64, (group, of): (Group, Span), flag: Span) {
        let pass = step.check_pass(number, group, operands(of), flag);
        self.backend.run(&mut self.memory, &pass, Context::NONE);
    }
}

/// The operands of an optimizer's pass over a part of the region of parameters.
fn operands(of: Span) -> [Span; 4] {
    [PARAMETERS, GRADIENTS, FIRST_MOMENTS, SECOND_MOMENTS].map(|region| Span { region, ..of })
}
