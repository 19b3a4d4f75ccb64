//! [`Emission`]: the state while a plan's passes are emitted. It decides how gradients are accumulated.

use super::action::Action;
use super::fused_facts::Deferred;
use super::program::{Program, Step};
use crate::Shape;
use crate::ids::NodeId;
use crate::mode::{Mode, Phase};
use crate::regions::GRADIENTS;
use kernels::add::Scale;
use kernels::collective::{Part, RankStep};
use kernels::{Span, Write};

/// What the emission knows about a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
    /// Whether it is an input or computed from one, so that it differs between the parts of a batch.
    pub(crate) depends_on_inputs: bool,
    /// Where the gradient of a parameter that is trained goes; none for all other nodes.
    pub(crate) gradient_place: Option<Span>,
    /// Whether its operation takes the gradient of its output as separate terms (see [`fused`](super::fused)).
    pub(crate) takes_gradient_terms: bool,
    /// Whether its passes use the batch statistics of the first input's channels.
    pub(crate) reads_batch_stats: bool,
}

/// The steps emitted so far, and what the next ones depend on.
pub(crate) struct Emission {
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) mode: Mode,
    /// This rank's part of the batch, if there are several ranks.
    pub(crate) part: Option<Part>,
    pub(crate) program: Program,
    /// Whether each node is computed.
    pub(crate) needed: Vec<bool>,
    /// Whether each node's gradient is wanted.
    pub(crate) wants: Vec<bool>,
    /// For each value that is a gradient: how many nodes have it as their gradient and have not emitted their backward
    /// passes yet.
    owners: Vec<usize>,
    /// Backward passes that are left to another node.
    pub(super) deferred: Option<Deferred>,
    /// The phase that is being emitted.
    pub(crate) phase: Phase,
}

impl Emission {
    /// Nothing emitted yet.
    pub(crate) fn new(nodes: Vec<NodeFacts>, mode: Mode, part: Option<Part>, needed: Vec<bool>) -> Emission {
        let len = nodes.len();
        let program = Program::new(len);
        Emission {
            nodes,
            mode,
            part,
            program,
            needed,
            wants: vec![false; len],
            owners: Vec::new(),
            deferred: None,
            phase: Phase::Forward,
        }
    }

    /// What is known about a node.
    pub(super) fn facts(&self, node: NodeId) -> &NodeFacts {
        &self.nodes[node.index()]
    }

    /// Adds a step.
    pub(crate) fn step(&mut self, node: NodeId, action: impl Into<Action>) {
        self.program.steps.push(Step { node, phase: self.phase, action: action.into() });
    }

    /// Adds a sum over the ranks.
    pub(crate) fn step_over_ranks(&mut self, node: NodeId, step: RankStep) {
        self.program.steps.push(Step { node, phase: self.phase, action: Action::Ranks(step) });
    }

    /// Makes `seed` the gradient of the output. Nothing is ever added to `seed` itself.
    pub(crate) fn begin_backward(&mut self, output: NodeId, seed: Span) {
        self.set_owners(seed, 1);
        self.contribute(output, output, seed, 1.0);
    }

    /// Records that the backward passes of a node have been emitted: it no longer needs its gradient.
    pub(crate) fn end_backward(&mut self, node: NodeId) {
        if let Some(dy) = self.program.gradients[node.index()] {
            self.owners[dy.offset] -= 1;
        }
    }

    /// Whether a reader of a node has contributed to its gradient.
    pub(crate) fn has_gradient(&self, node: NodeId) -> bool {
        let Program { gradients, fused, .. } = &self.program;
        gradients[node.index()].is_some() || fused[node.index()].norm.is_some()
    }

    /// The gradient of a node whose readers have all contributed.
    pub(crate) fn gradient(&self, node: NodeId) -> Span {
        self.program.gradients[node.index()].expect("a reader has given it one")
    }

    /// Adds `weight` times the gradient `value` to the gradient of `target`. Emits no pass if `target` can share the
    /// value.
    pub(super) fn contribute(&mut self, from: NodeId, target: NodeId, value: Span, weight: f64) {
        let is_first = self.program.gradients[target.index()].is_none();
        let facts = self.facts(target);
        if is_first && (weight == 1.0 || facts.takes_gradient_terms) && facts.gradient_place.is_none() {
            self.program.gradients[target.index()] = Some(value);
            self.program.fused[target.index()].weight = weight;
            self.owners.resize(self.program.values.len(), 0);
            self.owners[value.offset] += 1;
            return;
        }
        let (y, write) = self.gradient_to_write(from, target);
        self.step(from, Scale { weight, x: value, y, write });
    }

    /// Where the next contribution to the gradient of `target` goes, and whether it is the first.
    pub(super) fn gradient_to_write(&mut self, from: NodeId, target: NodeId) -> (Span, Write) {
        let Some(old) = self.program.gradients[target.index()] else {
            let new = self.new_gradient(target);
            return (new, Write::Set);
        };
        let weight = self.program.fused[target.index()].weight;
        if self.owners[old.offset] > 1 || weight != 1.0 {
            // Other nodes share the value as their gradient, or it has a weight that is not applied yet: add to a copy.
            self.owners[old.offset] -= 1;
            let new = self.new_gradient(target);
            self.step(from, Scale { weight, x: old, y: new, write: Write::Set });
            return (new, Write::Add);
        }
        (old, Write::Add)
    }

    /// A new value for the gradient of a node.
    pub(crate) fn new_gradient(&mut self, target: NodeId) -> Span {
        let shape = self.facts(target).shape;
        let new = match self.facts(target).gradient_place {
            Some(_) => self.parameter_gradient(target),
            None => self.program.value(shape),
        };
        self.set_owners(new, 1);
        self.program.gradients[target.index()] = Some(new);
        self.program.fused[target.index()].weight = 1.0;
        new
    }

    /// A value in the place of a parameter's gradient.
    pub(crate) fn parameter_gradient(&mut self, parameter: NodeId) -> Span {
        let facts = self.facts(parameter);
        let place = facts.gradient_place.expect("a parameter");
        debug_assert_eq!(place.region, GRADIENTS);
        self.program.fixed(facts.shape, place)
    }

    fn set_owners(&mut self, value: Span, owners: usize) {
        self.owners.resize(self.program.values.len(), 0);
        self.owners[value.offset] = owners;
    }
}
