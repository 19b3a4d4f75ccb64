//! Finding what is NaN or infinite: whether the gradients are, and which pass was the first to make it so.

use super::Session;
use crate::plan::{Access, Pass};
use crate::regions::{GRADIENTS, KEPT_STATES, STATES};
use crate::{PlanId, Result};
use kernels::add::Scale;
use kernels::{Backend, Region, Span, Write};
use std::fmt;

/// Where the first value that is NaN or infinite came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// It was there before the run: an input, parameter or state has it.
    Given {
        /// Name of the input, parameter or state.
        name: String,
    },
    /// A pass computed it from finite values.
    Computed {
        /// Place of the step in the plan.
        step: usize,
        /// The pass: `conv2d.forward`.
        op: &'static str,
        /// Name of the node that it belongs to.
        node: String,
        /// Part of the plan.
        pass: Pass,
    },
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NonFinite::Given { name } => write!(f, "given with `{name}`"),
            NonFinite::Computed { step, op, node, pass } => {
                write!(f, "in {op} of node `{node}` ({pass}, step {step} of the plan)")
            }
        }
    }
}

impl<B: Backend> Session<B> {
    /// Whether the gradients of the last run hold neither NaN nor infinity. Nothing but the answer leaves the backend's memory.
    pub fn gradients_are_finite(&mut self) -> bool {
        self.backend.all_finite(&mut self.memory, Span::new(GRADIENTS, 0, self.layout.parameters))
    }

    /// Keeps a copy of every state, in the backend's memory, for [`restore_states`](Self::restore_states).
    pub fn keep_states(&mut self) {
        self.copy_states(STATES, KEPT_STATES);
    }

    /// Sets every state to what it was when they were [kept](Self::keep_states) last; to 0, if never.
    pub fn restore_states(&mut self) {
        self.copy_states(KEPT_STATES, STATES);
    }

    fn copy_states(&mut self, from: Region, to: Region) {
        let [x, y] = [from, to].map(|region| Span::new(region, 0, self.layout.states));
        self.backend.scale(&mut self.memory, 1.0, Scale { x, y, write: Write::Set });
    }

    /// Runs a plan again, step by step, and returns the first step that writes NaN or infinity; none if there is no such
    /// value. Its inputs, parameters and states must be those of the run in question, so states that a training plan
    /// updated have to be [set back](Self::restore_states) first. Takes about twice the time of a run.
    ///
    /// One of several ranks looks at what it computes itself, and runs all steps, as the others wait for it.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn find_non_finite(&mut self, plan: PlanId) -> Result<Option<NonFinite>> {
        self.begin(plan)?;
        let (ready, random) = (&self.plans[plan.0], self.random(plan));
        let finite = |memory: &mut B::Memory, place: Span| self.backend.all_finite(memory, place);
        let input = ready.written.iter().find(|(place, _)| !finite(&mut self.memory, *place));
        let mut given = input.map(|&(place, _)| ready.input_name(place));
        if given.is_none() {
            let mut tensors = self.tensors.iter().zip(&self.layout.spans);
            let tensor = tensors.find(|(_, place)| !finite(&mut self.memory, **place));
            given = tensor.map(|(tensor, _)| tensor.name.clone());
        }
        let mut found = given.map(|name| NonFinite::Given { name });
        let is_awaited = ready.plan.purpose.part().is_some();
        for (i, (call, step)) in ready.calls.iter().zip(&ready.plan.program.steps).enumerate() {
            if found.is_some() && !is_awaited {
                break;
            }
            call.run(&*self.backend, &*self.ranks, &mut self.memory, random);
            if found.is_some() {
                continue;
            }
            let mut written = call.operands().into_iter().filter(|(_, access)| *access != Access::Read);
            if written.any(|(place, _)| !finite(&mut self.memory, place)) {
                let node = ready.plan.graph.name(step.node).to_owned();
                found = Some(NonFinite::Computed { step: i, op: call.name(), node, pass: step.pass });
            }
        }
        Ok(found)
    }
}
