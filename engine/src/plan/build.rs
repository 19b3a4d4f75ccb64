//! From a graph to a [`Program`]: the forward passes, then the backward ones.

use super::layout::Layout;
use super::purpose::Purpose;
use crate::emit::{Emission, Emitter, NodeFacts, Program};
use crate::graph::{Graph, Node, Op, Operation};
use crate::ids::NodeId;
use crate::mode::{Mode, Phase};
use crate::regions::GRADIENTS;
use crate::{Error, Result};
use kernels::Span;
use kernels::collective::RankStep;
use kernels::fill::Fill;

/// Emits the passes of a plan.
///
/// # Errors
/// If a node is not of the graph, the loss is not a scalar, nothing has a gradient, or a state that a batch
/// normalization updates is read elsewhere.
pub(crate) fn build(graph: &Graph, layout: &Layout, purpose: &Purpose, keep: &[NodeId]) -> Result<Program> {
    let outputs = purpose.outputs();
    outputs.iter().chain(keep).try_for_each(|&node| graph.check(node))?;
    let results = [outputs, keep].concat();
    let needed = ancestors(graph, &results);
    if purpose.mode() == Mode::Training {
        check_states(graph, &needed)?;
    }
    let nodes = graph.ids().fold(Vec::new(), |mut nodes, id| {
        nodes.push(facts(graph, layout, id, &nodes));
        nodes
    });
    let emission = Emission::new(nodes, purpose.mode(), purpose.part(), needed);
    let mut builder = Builder { graph, layout, emission };
    builder.forward(purpose, &results);
    match *purpose {
        Purpose::Inference { .. } => {}
        Purpose::Training { loss, .. } => {
            builder.backward(loss, false, true)?;
            builder.sum_over_ranks(loss);
        }
        Purpose::Gradients { output, wrt_inputs } => builder.backward(output, wrt_inputs, false)?,
    }
    Ok(builder.emission.program)
}

/// What the emission knows about a node. `before` are the nodes before it.
fn facts(graph: &Graph, layout: &Layout, id: NodeId, before: &[NodeFacts]) -> NodeFacts {
    let Node { op, inputs, shape, .. } = graph.get(id);
    let is = |question: fn(&dyn Operation) -> bool| op.operation().is_some_and(question);
    let is_trained = || graph.tensors()[graph.tensor_index(id)].trained;
    NodeFacts {
        inputs: inputs.clone(),
        shape: *shape,
        depends_on_inputs: matches!(op, Op::Input)
            || inputs.iter().any(|input| before[input.index()].depends_on_inputs),
        gradient_place: (matches!(op, Op::Parameter) && is_trained())
            .then(|| Span { region: GRADIENTS, ..layout.place(graph, id) }),
        takes_gradient_terms: is(|op| op.takes_gradient_terms()),
        reads_batch_stats: is(|op| op.reads_batch_stats()),
    }
}

struct Builder<'g> {
    graph: &'g Graph,
    layout: &'g Layout,
    emission: Emission,
}

impl Builder<'_> {
    fn forward(&mut self, purpose: &Purpose, results: &[NodeId]) {
        let mode = self.emission.mode;
        for id in self.graph.ids() {
            if !self.emission.needed[id.index()] {
                continue;
            }
            let node = self.graph.get(id);
            let program = &mut self.emission.program;
            let value = match &node.op {
                Op::Input => program.outliving(node.shape),
                Op::Parameter | Op::State => program.fixed(node.shape, self.layout.place(self.graph, id)),
                // A loss can be read even after other plans have run.
                _ if purpose.outputs().contains(&id) && node.shape.len() == 1 => program.outliving(node.shape),
                Op::Computed(operation) if operation.is_view(mode) => {
                    program.of_node[node.inputs[0].index()].expect("inputs are emitted first")
                }
                Op::Computed(_) => program.value(node.shape),
            };
            program.of_node[id.index()] = Some(value);
            if let Some(operation) = node.op.operation() {
                operation.forward(&mut Emitter::new(&mut self.emission, id));
            }
        }
        let program = &mut self.emission.program;
        for result in results {
            let value = program.of_node[result.index()].expect("results are needed");
            program.keep(value);
        }
    }

    fn backward(&mut self, output: NodeId, wrt_inputs: bool, is_loss: bool) -> Result<()> {
        let (graph, name) = (self.graph, self.graph.name(output));
        let shape = graph.shape(output);
        if is_loss && shape.len() != 1 {
            return Err(Error::NotScalar { node: name.to_owned(), shape });
        }
        let reached = ancestors(graph, &[output]);
        let reached_ids = || graph.ids().filter(|id| reached[id.index()]);
        for id in reached_ids() {
            let node = graph.get(id);
            self.emission.wants[id.index()] = match &node.op {
                Op::Parameter => self.emission.nodes[id.index()].gradient_place.is_some(),
                Op::Input => wrt_inputs,
                Op::State | Op::Computed(_) => node.inputs.iter().any(|input| self.emission.wants[input.index()]),
            };
        }
        if !self.emission.wants[output.index()] {
            let kind = if wrt_inputs { "trained parameter or input" } else { "trained parameter" };
            return Err(Error::NoGradient { node: name.to_owned(), kind });
        }
        self.emission.phase = Phase::Backward;
        let seed = self.seed(output, is_loss);
        self.emission.begin_backward(output, seed);
        for id in reached_ids().rev() {
            // No reader may give one: the classes of a cross-entropy have no gradient.
            let has_gradient = self.emission.wants[id.index()] && self.emission.has_gradient(id);
            if let Some(operation) = graph.get(id).op.operation().filter(|_| has_gradient) {
                self.emission.emit_deferred_unless(Some(id));
                operation.backward(&mut Emitter::new(&mut self.emission, id));
                self.emission.end_backward(id);
            }
        }
        self.emission.emit_deferred_unless(None);
        self.list_recomputable();
        self.finish_gradients();
        Ok(())
    }

    /// The gradient of the output itself: 1 for a loss, the caller's cotangent for another output.
    fn seed(&mut self, output: NodeId, is_loss: bool) -> Span {
        let shape = self.graph.shape(output);
        if is_loss {
            let out = self.emission.program.value(shape);
            // The loss of the batch is the mean of the losses of its parts, weighted by their shares.
            let value = self.emission.part.map_or(1.0, |part| part.share());
            self.emission.step(output, Fill { value, out });
            out
        } else {
            // Only the caller writes it: nothing is added to it.
            let seed = self.emission.program.outliving(shape);
            self.emission.program.cotangent = Some(seed);
            seed
        }
    }

    /// Lists the values that can be recomputed for the backward passes.
    fn list_recomputable(&mut self) {
        for id in self.graph.ids() {
            if let Some(operation) = self.graph.get(id).op.operation().filter(|_| self.emission.needed[id.index()]) {
                operation.recompute(&mut Emitter::new(&mut self.emission, id));
            }
        }
    }

    /// Keeps the gradients of inputs, and zeroes those of inputs and parameters without influence on the output.
    fn finish_gradients(&mut self) {
        for id in self.graph.ids() {
            let has_gradient = self.emission.has_gradient(id);
            match &self.graph.get(id).op {
                Op::Input if self.emission.wants[id.index()] => {
                    if !has_gradient {
                        let out = self.emission.new_gradient(id);
                        self.emission.step(id, Fill { value: 0.0, out });
                    }
                    let gradient = self.emission.gradient(id);
                    self.emission.program.keep(gradient);
                }
                Op::Parameter if !has_gradient && self.emission.nodes[id.index()].gradient_place.is_some() => {
                    // Another plan may have written there.
                    let out = self.emission.parameter_gradient(id);
                    self.emission.step(id, Fill { value: 0.0, out });
                }
                _ => {}
            }
        }
    }

    /// If there are several ranks, adds the last steps: from the loss and the gradients of this rank's part to those of
    /// the batch.
    fn sum_over_ranks(&mut self, loss: NodeId) {
        let Some(part) = self.emission.part else { return };
        let x = self.emission.program.of_node[loss.index()].expect("the loss is computed");
        self.emission.step_over_ranks(loss, RankStep::Sum { weight: part.share(), x });
        let all = Span::new(GRADIENTS, 0, self.layout.trained);
        let x = self.emission.program.fixed([all.len].into(), all);
        self.emission.step_over_ranks(loss, RankStep::Sum { weight: 1.0, x });
    }
}

/// # Errors
/// If a node reads a state that another one updates: what it reads would depend on the order of the passes.
fn check_states(graph: &Graph, needed: &[bool]) -> Result<()> {
    let nodes = || graph.ids().filter(|id| needed[id.index()]).map(|id| graph.get(id));
    // How many of the inputs a node only reads; it updates the others.
    let reads = |node: &'_ Node| node.inputs.len() - node.op.operation().map_or(0, Operation::updates);
    for norm in nodes() {
        let updated = &norm.inputs[reads(norm)..];
        let read_by = |node: &&Node| node.inputs[..reads(node)].iter().any(|input| updated.contains(input));
        if let Some(reader) = nodes().find(read_by) {
            return Err(Error::Params {
                op: reader.op.kind(),
                node: reader.name.clone(),
                message: format!("an argument is a running statistic of `{}`, which updates it", norm.name),
            });
        }
    }
    Ok(())
}

/// Whether each node is one of the given ones, or one that they are computed from.
fn ancestors(graph: &Graph, of: &[NodeId]) -> Vec<bool> {
    let mut found = vec![false; graph.len()];
    of.iter().for_each(|id| found[id.index()] = true);
    for id in graph.ids().rev() {
        if found[id.index()] {
            graph.get(id).inputs.iter().for_each(|input| found[input.index()] = true);
        }
    }
    found
}
