//! Finds the first pass that computes NaN or infinity.

use super::{NonFinite, Session};
use crate::regions::QUERY;
use crate::{PlanId, Result};
use kernels::finite::Find;
use kernels::{Access, Backend, Context, Element, Span};

impl<B: Backend> Session<B> {
    /// Runs a plan again, step by step, and returns where the first NaN or infinity came from; none if there is no such
    /// value. Inputs, parameters and states must be those of the run in question, as they are after a [training
    /// step](Self::start_step) that failed. They do not change. Takes about twice the time of a run.
    ///
    /// With several ranks, each looks only at what it computes itself, and runs all steps because the others wait for
    /// it.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    pub fn find_non_finite(&mut self, plan: PlanId) -> Result<Option<NonFinite>> {
        self.begin(plan)?;
        self.keep_states();
        let (ready, key) = (&self.plans[plan.0], self.key(plan));
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
        for (i, (action, step)) in ready.actions.iter().zip(&ready.plan.program.steps).enumerate() {
            if found.is_some() && !is_awaited {
                break;
            }
            action.run(&*self.backend, &*self.ranks, &mut self.memory, ready.context(i, key));
            if found.is_some() {
                continue;
            }
            let mut written = action.operands().into_iter().filter(|(_, access)| *access != Access::Read);
            if written.any(|(place, _)| !finite(&mut self.memory, place)) {
                let node = ready.plan.graph.name(step.node).to_owned();
                found = Some(NonFinite::Computed { step: i, op: action.name(), node, phase: step.phase });
            }
        }
        self.restore_states();
        Ok(found)
    }
}

/// Whether none of the values is NaN or infinite. Only the answer leaves the backend's memory.
fn is_finite<B: Backend>(backend: &B, memory: &mut B::Memory, values: Span) -> bool {
    let mut flag = [B::Element::from_f64(0.0)];
    backend.fill(memory, QUERY, 0.0);
    backend.run(memory, &Find { values, flag: QUERY }.into(), Context::NONE);
    backend.read(memory, QUERY, &mut flag);
    flag[0].to_f64() == 0.0
}
