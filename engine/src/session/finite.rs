//! Finding which pass was the first to compute what is NaN or infinite.

use super::Session;
use super::step::ASKED;
use crate::plan::{Access, Pass};
use crate::{PlanId, Result};
use kernels::finite::Find;
use kernels::{Backend, Element, Span};
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
    /// Runs a plan again, step by step, and returns the first step that writes NaN or infinity; none if there is no such
    /// value. Its inputs, parameters and states must be those of the run in question; all of them stay as they are, as they do in a
    /// [training step](Self::start_step) that fails. Takes about twice the time of a run.
    ///
    /// One of several ranks looks at what it computes itself, and runs all steps, as the others wait for it.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn find_non_finite(&mut self, plan: PlanId) -> Result<Option<NonFinite>> {
        self.begin(plan)?;
        self.keep_states();
        let (ready, random) = (&self.plans[plan.0], self.random(plan));
        let finite = |memory: &mut B::Memory, place: Span| is_finite(&*self.backend, memory, place);
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
        self.restore_states();
        Ok(found)
    }
}

/// Whether none of the values is NaN or infinite. Nothing but the answer leaves the backend's memory.
fn is_finite<B: Backend>(backend: &B, memory: &mut B::Memory, values: Span) -> bool {
    let mut flag = [B::Element::from_f64(0.0)];
    backend.fill(memory, ASKED, flag[0]);
    backend.find_non_finite(memory, Find { values, flag: ASKED });
    backend.read(memory, ASKED, &mut flag);
    flag[0].to_f64() == 0.0
}
