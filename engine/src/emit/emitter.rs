//! [`Emitter`]: the interface through which an operation emits the passes of one node.

use super::emission::Emission;
use super::program::{Effort, Recomputable};
use crate::Shape;
use crate::ids::NodeId;
use crate::mode::Mode;
use kernels::add::Scale;
use kernels::collective::Part;
use kernels::{Call, Span, Write};

/// What an operation sees of the plan while it emits the passes of one node.
pub(crate) struct Emitter<'e> {
    pub(super) emission: &'e mut Emission,
    pub(super) node: NodeId,
}

/// For forward and backward passes.
impl Emitter<'_> {
    /// For the passes of `node`.
    pub(crate) fn new(emission: &mut Emission, node: NodeId) -> Emitter<'_> {
        Emitter { emission, node }
    }

    /// What the plan is for.
    pub(crate) fn mode(&self) -> Mode {
        self.emission.mode
    }

    /// This rank's part of the batch, if there are several ranks.
    pub(crate) fn part(&self) -> Option<Part> {
        self.emission.part
    }

    /// Number of inputs.
    pub(crate) fn inputs(&self) -> usize {
        self.emission.facts(self.node).inputs.len()
    }

    pub(super) fn input_node(&self, i: usize) -> NodeId {
        self.emission.facts(self.node).inputs[i]
    }

    /// Shape of input `i`.
    pub(crate) fn shape(&self, i: usize) -> Shape {
        self.emission.facts(self.input_node(i)).shape
    }

    /// Whether input `i` is an input of the graph or computed from one, so that it differs between the parts of a
    /// batch.
    pub(crate) fn depends_on_inputs(&self, i: usize) -> bool {
        self.emission.facts(self.input_node(i)).depends_on_inputs
    }

    /// Shape of the node.
    pub(crate) fn output_shape(&self) -> Shape {
        self.emission.facts(self.node).shape
    }

    /// A new value in the arena.
    pub(crate) fn new_value(&mut self, shape: Shape) -> Span {
        self.emission.program.value(shape)
    }

    /// Value of input `i`.
    pub(crate) fn input(&self, i: usize) -> Span {
        self.emission.program.of_node[self.input_node(i).index()].expect("inputs are emitted first")
    }

    /// Value of input `i`, or an empty span if there is none.
    pub(crate) fn optional_input(&self, i: usize) -> Span {
        if i < self.inputs() { self.input(i) } else { Span::EMPTY }
    }

    /// Value of the node.
    pub(crate) fn output(&self) -> Span {
        self.emission.program.of_node[self.node.index()].expect("emitted before its passes")
    }

    /// The `i`th auxiliary that the forward passes have written.
    pub(crate) fn auxiliary(&self, i: usize) -> Span {
        self.emission.program.auxiliaries[self.node.index()][i]
    }

    /// Emits a pass. Its output may overwrite an operand if the pass allows it and nothing reads that operand
    /// afterwards.
    pub(crate) fn emit(&mut self, call: impl Into<Call>) {
        self.emission.step(self.node, call);
    }
}

/// For forward passes.
impl Emitter<'_> {
    /// A value that the forward passes write beside the output, for the backward passes to read.
    pub(crate) fn new_auxiliary(&mut self, shape: Shape) -> Span {
        let value = self.emission.program.value(shape);
        self.emission.program.auxiliaries[self.node.index()].push(value);
        value
    }

    /// For a [view](crate::graph::Operation::is_view): copies input 0 to the output, if the plan has made them two
    /// values.
    pub(crate) fn copy_unless_view(&mut self) {
        let (x, y) = (self.input(0), self.output());
        if x != y {
            self.emit(Scale { weight: 1.0, x, y, write: Write::Set });
        }
    }

    /// Records that `call` can recompute `value`, into the span that it is given.
    pub(crate) fn recomputable<C: Into<Call>>(
        &mut self,
        value: Span,
        shape: Shape,
        effort: Effort,
        call: impl FnOnce(Span) -> C,
    ) {
        let (node, copy) = (self.node, self.new_value(shape));
        let call = call(copy).into();
        self.emission.program.recomputable.push(Recomputable { effort, node, value, copy, call });
    }
}

/// For backward passes.
impl Emitter<'_> {
    /// Gradient of the output.
    pub(crate) fn dy(&self) -> Span {
        self.emission.gradient(self.node)
    }

    /// Whether there is an input `i` whose gradient is wanted.
    pub(crate) fn wants(&self, i: usize) -> bool {
        i < self.inputs() && self.emission.wants[self.input_node(i).index()]
    }

    /// Where the next emitted pass writes the gradient of input `i`, and whether it sets or adds. An empty span if the
    /// gradient is not wanted.
    pub(crate) fn gradient(&mut self, i: usize) -> (Span, Write) {
        if !self.wants(i) {
            return (Span::EMPTY, Write::Set);
        }
        let input = self.input_node(i);
        self.emission.gradient_to_write(self.node, input)
    }

    /// Adds `weight` times `value` to the gradient of input `i`, if that is wanted. Passes of this node that read
    /// `value` must be emitted before.
    pub(crate) fn contribute(&mut self, i: usize, value: Span, weight: f64) {
        if self.wants(i) {
            let input = self.input_node(i);
            self.emission.contribute(self.node, input, value, weight);
        }
    }

    /// Adds `weight` times the gradient of the output to the gradient of input `i`.
    pub(crate) fn contribute_dy(&mut self, i: usize, weight: f64) {
        if self.wants(i) {
            let dy = self.dy();
            self.contribute(i, dy, weight);
        }
    }
}
