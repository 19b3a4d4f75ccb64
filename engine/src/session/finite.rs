//! Finds the first pass that computes NaN or infinity.

use super::{NonFinite, Session, Step};
use crate::graph::TensorInfo;
use crate::regions::{GRADIENTS, QUERY, STATES};
use crate::{PlanId, Result};
use kernels::finite::Find;
use kernels::{Access, Backend, Context, Element, Span};

impl<B: Backend> Session<B> {
    /// Runs a plan again, step by step, and returns where the first NaN or infinity came from; none if there is no such
    /// value. Inputs, parameters and states must be those of the run in question, as they are after a [training
    /// step](Self::start_step) that failed. They do not change. Takes about twice the time of a run. After a training
    /// step that failed, the optimizer's step is looked at too, unless its gradients were
    /// [accumulated](Self::accumulate).
    ///
    /// With several ranks, each looks only at what it computes itself, and runs all steps because the others wait for
    /// it.
    ///
    /// # Errors
    /// As [`run`](Session::run); also if there are [accumulated](Self::accumulate) gradients that no step has used, or
    /// averages are in the place of the parameters.
    pub fn find_non_finite(&mut self, plan: PlanId) -> Result<Option<NonFinite>> {
        self.check_nothing_accumulated()?;
        self.check_swapped()?;
        self.begin(plan)?;
        self.keep_states();
        let mut found = self.find_given(plan).map(|name| NonFinite::Given { name });
        let (ready, key) = (&self.plans[plan.0], self.key(plan));
        let is_awaited = ready.plan.purpose.part().is_some();
        for (i, (action, step)) in ready.actions.iter().zip(&ready.plan.program.steps).enumerate() {
            if found.is_some() && !is_awaited {
                break;
            }
            action.run(&*self.backend, &*self.ranks, &mut self.memory, ready.context(i, key));
            if found.is_some() {
                continue;
            }
            let written = action.operands().into_iter().filter(|(_, access)| *access != Access::Read);
            let wrong: Vec<Span> = written
                .map(|(place, _)| place)
                .filter(|place| !is_finite(&*self.backend, &mut self.memory, *place))
                .collect();
            found = match wrong.iter().find(|place| place.region != STATES) {
                Some(_) => {
                    let node = ready.plan.graph.name(step.node).to_owned();
                    Some(NonFinite::Computed { step: i, op: action.name(), node, phase: step.phase })
                }
                None => wrong.first().map(|state| NonFinite::Updated { name: self.tensor_name(*state) }),
            };
        }
        self.restore_states();
        Ok(match (found, self.failed_step) {
            (None, Some(failed)) => self.find_updated(&failed.step, failed.number),
            (found, _) => found,
        })
    }

    /// The first input, parameter or state with such a value.
    fn find_given(&mut self, plan: PlanId) -> Option<String> {
        let ready = &self.plans[plan.0];
        let finite = |memory: &mut B::Memory, place: Span| is_finite(&*self.backend, memory, place);
        if let Some((place, _)) = ready.written.iter().find(|(place, _)| !finite(&mut self.memory, *place)) {
            return Some(ready.input_name(*place));
        }
        let mut tensors = self.tensors.iter().zip(&self.layout.spans);
        let tensor = tensors.find(|(_, place)| !finite(&mut self.memory, **place));
        tensor.map(|(tensor, _)| tensor.name.clone())
    }

    /// The first parameter that an optimizer step with the gradients of the last run would leave with such a value, in
    /// itself or in its optimizer state.
    fn find_updated(&mut self, step: &Step, number: u64) -> Option<NonFinite> {
        if let Some(max_norm) = step.clip_norm {
            self.backend.fill(&mut self.memory, QUERY, 0.0);
            self.clip(max_norm, GRADIENTS, QUERY);
            if is_raised(&*self.backend, &self.memory) {
                return Some(NonFinite::Norm);
            }
        }
        for i in 0..self.tensors.len() {
            let TensorInfo { trained: true, group: Some(group), .. } = self.tensors[i] else { continue };
            self.backend.fill(&mut self.memory, QUERY, 0.0);
            self.check_update(step, number, (group, self.layout.spans[i]), GRADIENTS, QUERY);
            if is_raised(&*self.backend, &self.memory) {
                return Some(NonFinite::Updated { name: self.tensors[i].name.clone() });
            }
        }
        None
    }

    /// Name of the parameter or state at a place.
    fn tensor_name(&self, place: Span) -> String {
        let at = self.layout.spans.iter().position(|span| *span == place);
        at.map_or_else(|| format!("{place:?}"), |i| self.tensors[i].name.clone())
    }
}

/// Whether none of the values is NaN or infinite.
fn is_finite<B: Backend>(backend: &B, memory: &mut B::Memory, values: Span) -> bool {
    backend.fill(memory, QUERY, 0.0);
    backend.run(memory, &Find { values, flag: QUERY }.into(), Context::NONE);
    !is_raised(backend, memory)
}

/// Whether the flag of the last query is up. Nothing else leaves the backend's memory.
fn is_raised<B: Backend>(backend: &B, memory: &B::Memory) -> bool {
    let mut flag = [B::Element::from_f64(0.0)];
    backend.read(memory, QUERY, &mut flag);
    flag[0].to_f64() != 0.0
}
