//! [`Program`]: steps over values that have no place in memory yet.

use super::action::Action;
use super::fused_facts::FusedFacts;
use crate::Shape;
use crate::ids::NodeId;
use crate::mode::Phase;
use crate::plan::arena::align;
use crate::regions::INPUTS;
use kernels::{Call, Region, Span};

/// Region of the spans that stand for values.
pub(crate) const VALUE: Region = Region(u8::MAX);

/// An array that passes read and write.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) shape: Shape,
    /// Its place, if that is fixed. Otherwise it lies in the arena.
    pub(crate) fixed: Option<Span>,
    /// Whether the caller may read it after the run.
    pub(crate) kept: bool,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) node: NodeId,
    pub(crate) phase: Phase,
    pub(crate) action: Action,
}

/// Every value is written once, by one step; only gradients of values with several readers are added to afterwards.
/// Places are decided later: here a [`Span`] is a symbol with region [`VALUE`] and the value's index as its offset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// The value of each node, if the plan needs it.
    pub(crate) of_node: Vec<Option<Span>>,
    /// The other outputs of each node's forward passes.
    pub(super) auxiliaries: Vec<Vec<Span>>,
    /// The gradient of each node, as far as it is emitted.
    pub(crate) gradients: Vec<Option<Span>>,
    /// What only fused layers need to know about each node.
    pub(super) fused: Vec<FusedFacts>,
    /// The output's gradient, if the caller writes it.
    pub(crate) cotangent: Option<Span>,
    /// Elements of the inputs' region in use.
    pub(crate) inputs_len: usize,
    /// Values that can be recomputed, in the order of their nodes.
    pub(crate) recomputable: Vec<Recomputable>,
}

/// What it costs to recompute a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// A pass so cheap that recomputing always beats keeping the tensor.
    Normalization,
    /// A pass over memory.
    Elementwise,
    /// A convolution.
    Convolution,
}

/// A value, and a pass that recomputes it.
#[derive(Clone, Debug)]
pub(crate) struct Recomputable {
    pub(crate) effort: Effort,
    pub(crate) node: NodeId,
    pub(crate) value: Span,
    /// What the pass writes.
    pub(crate) copy: Span,
    pub(crate) call: Call,
}

impl Program {
    /// A program without steps, for a graph of `nodes` nodes.
    pub(super) fn new(nodes: usize) -> Program {
        Program {
            of_node: vec![None; nodes],
            auxiliaries: vec![Vec::new(); nodes],
            gradients: vec![None; nodes],
            fused: vec![FusedFacts::default(); nodes],
            ..Program::default()
        }
    }

    /// A new value in the arena.
    pub(crate) fn value(&mut self, shape: Shape) -> Span {
        self.values.push(Value { shape, fixed: None, kept: false });
        Span::new(VALUE, self.values.len() - 1, shape.len())
    }

    /// A new value at a fixed place.
    pub(crate) fn fixed(&mut self, shape: Shape, place: Span) -> Span {
        let span = self.value(shape);
        self.values[span.offset].fixed = Some(place);
        span
    }

    /// A new value in the inputs' region, where it outlives the run.
    pub(crate) fn outliving(&mut self, shape: Shape) -> Span {
        let place = Span::new(INPUTS, self.inputs_len, shape.len());
        self.inputs_len += align(place.len);
        self.fixed(shape, place)
    }

    /// Runs passes one after another that are computed as one.
    pub(crate) fn separate(&mut self) {
        let parts = |step: Step| {
            let parts = step.action.call().map(Call::parts);
            let actions =
                parts.map_or_else(|| vec![step.action], |calls| calls.into_iter().map(Action::Call).collect());
            actions.into_iter().map(move |action| Step { node: step.node, phase: step.phase, action })
        };
        self.steps = std::mem::take(&mut self.steps).into_iter().flat_map(parts).collect();
    }

    /// Lets the caller read a value after the run.
    pub(crate) fn keep(&mut self, value: Span) {
        self.values[value.offset].kept = true;
    }
}
