//! What operations see of the emission of passes: [`Emitter`].

use super::{Builder, Effort, Recomputable};
use crate::Shape;
use crate::graph::{Node, NodeId};
use crate::ops::Operation;
use crate::plan::{Call, Mode, Statistics};
use kernels::collective::{self, Part};
use kernels::epilogue::NormGradient;
use kernels::{Span, Write};

/// What an operation emits the passes of one node with.
pub(crate) struct Emitter<'b, 'g> {
    pub(super) builder: &'b mut Builder<'g>,
    pub(super) id: NodeId,
}

/// For forward and backward passes.
impl Emitter<'_, '_> {
    fn node(&self) -> &Node {
        self.builder.graph.get(self.id)
    }

    /// What the plan is for.
    pub(crate) fn mode(&self) -> Mode {
        self.builder.mode
    }

    /// What this rank has of the batch, if there are others.
    pub(crate) fn part(&self) -> Option<Part> {
        self.builder.part
    }

    /// Emits the pass that makes moments of the batch of those of this rank's part, if there are other ranks.
    pub(crate) fn moments_over_ranks(&mut self, [mean, var]: [Span; 2]) {
        if let Some(part) = self.builder.part {
            self.emit(Call::MomentsOverRanks(part, collective::Moments { mean, var }));
        }
    }

    /// Emits the pass that makes what is divided by the number of the batch's values of what was divided by that of this rank's part,
    /// if there are other ranks.
    pub(crate) fn mean_over_ranks(&mut self, value: Span) {
        if let Some(part) = self.builder.part.filter(|_| !value.is_empty()) {
            self.emit(Call::SumOverRanks(part.share(), value));
        }
    }

    /// Number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.node().inputs.len()
    }

    /// Shape of input `i`.
    pub(crate) fn shape(&self, i: usize) -> Shape {
        self.builder.graph.shape(self.node().inputs[i])
    }

    /// Shape of the node.
    pub(crate) fn output_shape(&self) -> Shape {
        self.node().shape
    }

    /// A value for this node's passes alone.
    pub(crate) fn new_value(&mut self, shape: Shape) -> Span {
        self.builder.program.value(shape)
    }

    /// Mean and variance of the channels of input `i`, if a pass before has written them.
    pub(crate) fn moments(&self, i: usize) -> Option<[Span; 2]> {
        self.builder.program.moments[self.node().inputs[i].index()]
    }

    /// Value of input `i`.
    pub(crate) fn input(&self, i: usize) -> Span {
        let input = self.node().inputs[i];
        self.builder.program.of_node[input.index()].expect("inputs are emitted first")
    }

    /// Value of input `i`, or an empty span if there is none.
    pub(crate) fn optional_input(&self, i: usize) -> Span {
        if i < self.node().inputs.len() { self.input(i) } else { Span::EMPTY }
    }

    /// Value of the node.
    pub(crate) fn output(&self) -> Span {
        self.builder.program.of_node[self.id.index()].expect("emitted before its passes")
    }

    /// The `i`th auxiliary that the forward passes have written.
    pub(crate) fn auxiliary(&self, i: usize) -> Span {
        self.builder.program.auxiliaries[self.id.index()][i]
    }

    /// Emits a pass.
    pub(crate) fn emit(&mut self, call: Call) {
        self.builder.step(self.id, call, None);
    }

    /// Emits a pass whose output `y` may take the place of one of the operands `over`, if nothing reads that
    /// afterwards.
    pub(crate) fn emit_over(&mut self, call: Call, y: Span, over: &[Span]) {
        self.builder.step(self.id, call, Some((y, over.to_vec())));
    }
}

/// For the list of what can be recomputed.
impl Emitter<'_, '_> {
    /// Says that the call computes `value` once more, into the span that it is given.
    pub(crate) fn recomputable(&mut self, value: Span, shape: Shape, effort: Effort, call: impl FnOnce(Span) -> Call) {
        let (node, copy) = (self.id, self.new_value(shape));
        self.builder.program.recomputable.push(Recomputable { effort, node, value, copy, call: call(copy) });
    }
}

/// For forward passes.
impl Emitter<'_, '_> {
    /// A value that the forward passes write beside the output, for the backward passes to read.
    pub(crate) fn new_auxiliary(&mut self, shape: Shape) -> Span {
        let value = self.builder.program.value(shape);
        self.builder.program.auxiliaries[self.id.index()].push(value);
        value
    }

    /// Values for mean and variance of the channels of input `i`, which the next pass writes.
    pub(crate) fn new_moments(&mut self, i: usize) -> [Span; 2] {
        let input = self.node().inputs[i];
        self.new_moments_of(input)
    }

    /// The same of the output.
    pub(crate) fn new_output_moments(&mut self) -> [Span; 2] {
        self.new_moments_of(self.id)
    }

    fn new_moments_of(&mut self, node: NodeId) -> [Span; 2] {
        let channels = [self.builder.graph.shape(node).channels()].into();
        let moments = [self.new_value(channels), self.new_value(channels)];
        self.builder.program.moments[node.index()] = Some(moments);
        moments
    }

    /// Whether a reader of the output would take over its moments.
    pub(crate) fn norm_reads_output(&self) -> bool {
        let Builder { graph, needed, mode, .. } = &*self.builder;
        let reads =
            |node: &Node| node.op.operation().is_some_and(Operation::reads_moments) && node.inputs[0] == self.id;
        *mode != Mode::Inference(Statistics::Running)
            && graph.ids().any(|id| needed[id.index()] && reads(graph.get(id)))
    }
}

/// The gradient of a node, in parts: `weight dy`, and what comes from a batch normalization. One of them may be absent.
pub(crate) struct Gradient {
    pub(crate) norm: NormGradient,
    pub(crate) dy: Span,
    pub(crate) weight: f64,
}

/// For backward passes.
impl Emitter<'_, '_> {
    /// Gradient of the output in parts; for operations that take it so.
    pub(crate) fn output_gradient(&self) -> Gradient {
        let (program, index) = (&self.builder.program, self.id.index());
        debug_assert!(self.builder.takes_parts(self.id));
        Gradient {
            norm: program.norms[index].unwrap_or(NormGradient::NONE),
            dy: program.gradients[index].unwrap_or(Span::EMPTY),
            weight: program.weights[index],
        }
    }

    /// Makes `weight` times a value the gradient of input `i`, or adds it, if it is wanted. Passes of this node that read the value
    /// are emitted before.
    pub(crate) fn contribute(&mut self, i: usize, value: Span, weight: f64) {
        if self.wants(i) {
            let input = self.node().inputs[i];
            self.builder.contribute(self.id, input, value, weight);
        }
    }

    /// The same as [`contribute_norm`](Self::contribute_norm), for a gradient that may be added to after this node's passes.
    pub(crate) fn contribute_norm_at_once(&mut self, i: usize, norm: NormGradient) {
        let input = self.node().inputs[i];
        self.builder.contribute_norm_at_once(self.id, input, norm);
    }

    /// Makes what comes from a batch normalization the gradient of input `i`, or adds it.
    pub(crate) fn contribute_norm(&mut self, i: usize, norm: NormGradient) {
        let input = self.node().inputs[i];
        self.builder.contribute_norm(self.id, input, norm);
    }

    /// Gradient of the output.
    pub(crate) fn dy(&self) -> Span {
        self.builder.gradient(self.id)
    }

    /// Whether there is an input `i` whose gradient is wanted.
    pub(crate) fn wants(&self, i: usize) -> bool {
        self.node().inputs.get(i).is_some_and(|input| self.builder.wants[input.index()])
    }

    /// Where the next pass that is emitted writes the gradient of input `i`, and whether it sets it or adds to it. An
    /// empty span if it is not wanted.
    pub(crate) fn gradient(&mut self, i: usize) -> (Span, Write) {
        if !self.wants(i) {
            return (Span::EMPTY, Write::Set);
        }
        let input = self.node().inputs[i];
        self.builder.gradient_to_write(self.id, input)
    }

    /// A value that backward passes of this node hand to each other.
    pub(crate) fn temporary(&mut self, shape: Shape) -> Span {
        self.builder.program.value(shape)
    }

    /// Makes `weight` times the gradient of the output the gradient of input `i`, or adds it.
    pub(crate) fn pass_on(&mut self, i: usize, weight: f64) {
        if self.wants(i) {
            let (input, dy) = (self.node().inputs[i], self.dy());
            self.builder.contribute(self.id, input, dy, weight);
        }
    }
}
