//! Finding what is NaN or infinite: whether the gradients are, and which pass was the first to make it so.

use super::Session;
use crate::plan::{Access, Pass};
use crate::regions::{GRADIENTS, STATES};
use crate::{PlanId, Result};
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
    /// Whether the gradients of the last run hold neither NaN nor infinity. Allocates nothing after the first call.
    pub fn gradients_are_finite(&mut self) -> bool {
        let gradients = Span::new(GRADIENTS, 0, self.layout.parameters);
        self.host.resize(gradients.len, B::Element::from_f64(0.0));
        self.backend.read(&self.memory, gradients, &mut self.host);
        are_finite(&self.host)
    }

    /// Copies every state into `out`, whose length becomes theirs.
    pub fn states(&self, out: &mut Vec<B::Element>) {
        out.resize(self.layout.states, B::Element::from_f64(0.0));
        self.backend.read(&self.memory, Span::new(STATES, 0, self.layout.states), out);
    }

    /// Sets every state to what [`states`](Self::states) gave.
    ///
    /// # Panics
    /// If `states` has another length: it came from a session of another network.
    pub fn set_states(&mut self, states: &[B::Element]) {
        assert_eq!(states.len(), self.layout.states, "elements of the session's states");
        self.backend.write(&mut self.memory, Span::new(STATES, 0, self.layout.states), states);
    }

    /// Runs a plan again, step by step, and returns the first step that writes NaN or infinity; none if there is no such
    /// value. Its inputs, parameters and states must be those of the run in question, so states that a training plan
    /// updated have to be [set back](Self::set_states) first. Takes about twice the time of a run.
    ///
    /// One of several ranks looks at what it computes itself, and runs all steps, as the others wait for it.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn find_non_finite(&mut self, plan: PlanId) -> Result<Option<NonFinite>> {
        self.begin(plan)?;
        let (ready, random) = (&self.plans[plan.0], self.random(plan));
        let mut host = Vec::new();
        let mut finite = |memory: &B::Memory, place: Span| {
            host.resize(place.len, B::Element::from_f64(0.0));
            self.backend.read(memory, place, &mut host);
            are_finite(&host)
        };
        let input = ready.written.iter().find(|(place, _)| !finite(&self.memory, *place));
        let mut given = input.map(|&(place, _)| ready.input_name(place));
        if given.is_none() {
            let mut tensors = self.tensors.iter().zip(&self.layout.spans);
            let tensor = tensors.find(|(_, place)| !finite(&self.memory, **place));
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
            if written.any(|(place, _)| !finite(&self.memory, place)) {
                let node = ready.plan.graph.name(step.node).to_owned();
                found = Some(NonFinite::Computed { step: i, op: call.name(), node, pass: step.pass });
            }
        }
        Ok(found)
    }
}

/// Without branches, so that the loop is a sum over vectors: 0 times NaN or infinity is NaN, and stays it.
fn are_finite<E: Element>(values: &[E]) -> bool {
    values.iter().map(|value| value.to_f64() * 0.0).sum::<f64>() == 0.0
}
