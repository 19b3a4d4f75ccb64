//! From a graph to passes over values: the forward passes, then the backward ones.
//!
//! Every value is written by one pass, once; only gradients of values with several readers are added to afterwards.
//! Where values lie is decided later ([`place`](super::place)): here a [`Span`] is a symbol, of region [`VALUE`] and
//! with the value's index as its offset.

mod emitter;

pub(crate) use emitter::{Emitter, Gradient};

use super::arena::align;
use super::{Call, Mode, Pass, Purpose};
use crate::graph::{Graph, Node, NodeId};
use crate::ops::{Op, Operation};
use crate::regions::{GRADIENTS, INPUTS, Layout};
use crate::{Error, Result, Shape};
use kernels::collective::Part;
use kernels::epilogue::{Backward, EpilogueParams, NormGradient};
use kernels::{Region, Span, Write, add};

/// Region of the spans that stand for values.
pub(crate) const VALUE: Region = Region(u8::MAX);

/// An array that passes read and write.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) shape: Shape,
    /// Where it lies, if that is fixed; otherwise in the arena.
    pub(crate) fixed: Option<Span>,
    /// Whether the caller may read it after the run.
    pub(crate) kept: bool,
}

/// One pass.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) node: NodeId,
    pub(crate) pass: Pass,
    pub(crate) call: Call,
    /// An output, and the operands whose place it may take.
    pub(crate) over: Option<(Span, Vec<Span>)>,
}

/// Passes over values that have no place yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// The value of each node, if the plan needs it.
    pub(crate) of_node: Vec<Option<Span>>,
    /// The other outputs of each node's forward passes.
    auxiliaries: Vec<Vec<Span>>,
    /// The gradient of each node, as far as it is written.
    pub(crate) gradients: Vec<Option<Span>>,
    /// What the gradient of each node is to be multiplied by: 1, unless its operation takes gradients in parts.
    weights: Vec<f64>,
    /// The part of the gradient of each node that comes from a batch normalization, if its operation takes gradients in parts.
    norms: Vec<Option<NormGradient>>,
    /// Mean and variance of each node's channels, if a pass writes them.
    moments: Vec<Option<[Span; 2]>>,
    /// The gradient that the caller gives.
    pub(crate) cotangent: Option<Span>,
    /// Elements of the inputs' region in use.
    pub(crate) inputs_len: usize,
    /// Values that could be computed again, in the order of their nodes.
    pub(crate) recomputable: Vec<Recomputable>,
}

/// What it costs to compute a value once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// A pass that is worth the tensor that need not be kept, always.
    Normalization,
    /// A pass over memory.
    Pass,
    /// A convolution.
    Convolution,
}

/// A value, and a pass that computes it once more.
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
    /// A new value in the arena.
    pub(crate) fn value(&mut self, shape: Shape) -> Span {
        self.values.push(Value { shape, fixed: None, kept: false });
        Span::new(VALUE, self.values.len() - 1, shape.len())
    }

    /// A new value at a fixed place.
    fn fixed(&mut self, shape: Shape, place: Span) -> Span {
        let span = self.value(shape);
        self.values[span.offset].fixed = Some(place);
        span
    }

    /// A new value in the inputs' region.
    fn outliving(&mut self, shape: Shape) -> Span {
        let place = Span::new(INPUTS, self.inputs_len, shape.len());
        self.inputs_len += align(place.len);
        self.fixed(shape, place)
    }

    fn keep(&mut self, value: Span) {
        self.values[value.offset].kept = true;
    }
}

/// Emits the passes of a plan.
///
/// # Errors
/// If a node is not of the graph, the loss is not a scalar, nothing has a gradient, or a state that a batch
/// normalization updates is read elsewhere.
pub(crate) fn emit(graph: &Graph, layout: &Layout, purpose: &Purpose, keep: &[NodeId]) -> Result<Program> {
    let outputs = purpose.outputs();
    outputs.iter().chain(keep).try_for_each(|&node| graph.check(node))?;
    let mut builder = Builder {
        graph,
        layout,
        mode: purpose.mode(),
        part: purpose.part(),
        program: Program {
            of_node: vec![None; graph.len()],
            auxiliaries: vec![Vec::new(); graph.len()],
            gradients: vec![None; graph.len()],
            weights: vec![1.0; graph.len()],
            norms: vec![None; graph.len()],
            moments: vec![None; graph.len()],
            ..Program::default()
        },
        needed: Vec::new(),
        wants: vec![false; graph.len()],
        owners: Vec::new(),
        pass: Pass::Forward,
    };
    builder.forward(purpose, &[outputs, keep].concat())?;
    match *purpose {
        Purpose::Inference { .. } => {}
        Purpose::Training { loss, .. } => {
            builder.backward(loss, false, true)?;
            builder.sum_over_ranks(loss);
        }
        Purpose::Gradients { output, wrt_inputs } => builder.backward(output, wrt_inputs, false)?,
    }
    Ok(builder.program)
}

struct Builder<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    mode: Mode,
    /// What this rank has of the batch, if there are others.
    part: Option<Part>,
    program: Program,
    /// Whether each node is computed.
    needed: Vec<bool>,
    /// Whether each node's gradient is wanted.
    wants: Vec<bool>,
    /// For each value that is a gradient: how many nodes, whose backward passes are still to be emitted, have it as
    /// theirs.
    owners: Vec<usize>,
    /// What is being emitted.
    pass: Pass,
}

impl Builder<'_> {
    fn forward(&mut self, purpose: &Purpose, results: &[NodeId]) -> Result<()> {
        self.needed = ancestors(self.graph, results);
        if self.mode == Mode::Training {
            self.check_states()?;
        }
        for id in self.graph.ids() {
            if !self.needed[id.index()] {
                continue;
            }
            let node = self.graph.get(id);
            let value = match &node.op {
                Op::Input => self.program.outliving(node.shape),
                Op::Parameter | Op::State => self.program.fixed(node.shape, self.tensor(id)),
                // a loss can be read whatever has run since
                _ if purpose.outputs().contains(&id) && node.shape.len() == 1 => self.program.outliving(node.shape),
                _ => self.program.value(node.shape),
            };
            self.program.of_node[id.index()] = Some(value);
            if let Some(operation) = node.op.operation() {
                operation.forward(&mut Emitter { builder: self, id });
            }
        }
        for result in results {
            let value = self.program.of_node[result.index()].expect("results are needed");
            self.program.keep(value);
        }
        Ok(())
    }

    /// Which passes run would decide which running statistics another reader sees.
    fn check_states(&self) -> Result<()> {
        let nodes = || self.graph.ids().filter(|id| self.needed[id.index()]).map(|id| self.graph.get(id));
        // what a node reads, and what it updates
        let inputs = |node: &'_ Node| node.inputs.len() - node.op.operation().map_or(0, Operation::updates);
        for norm in nodes() {
            let updated = &norm.inputs[inputs(norm)..];
            let read_by = |node: &&Node| node.inputs[..inputs(node)].iter().any(|input| updated.contains(input));
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

    fn backward(&mut self, output: NodeId, wrt_inputs: bool, is_loss: bool) -> Result<()> {
        let (graph, name) = (self.graph, self.graph.name(output));
        let shape = graph.shape(output);
        if is_loss && shape.len() != 1 {
            return Err(Error::NotScalar { node: name.to_owned(), shape });
        }
        self.pass = Pass::Backward;
        let reached = ancestors(graph, &[output]);
        for id in graph.ids().filter(|id| reached[id.index()]) {
            let node = graph.get(id);
            let of_inputs = node.inputs.iter().any(|input| self.wants[input.index()]);
            self.wants[id.index()] = match &node.op {
                Op::Parameter => true,
                Op::Input => wrt_inputs,
                _ => of_inputs,
            };
        }
        if !self.wants[output.index()] {
            let kind = if wrt_inputs { "parameter or input" } else { "parameter" };
            return Err(Error::NoGradient { node: name.to_owned(), kind });
        }

        let seed = if is_loss {
            let seed = self.program.value(shape);
            // the loss of the batch is the mean of those of its parts
            self.step(output, Call::Fill(self.part.map_or(1.0, |part| part.share()), seed), None);
            seed
        } else {
            let seed = self.program.outliving(shape);
            self.program.cotangent = Some(seed);
            seed
        };
        // the caller is an owner for ever: nothing is added to what it wrote
        self.set_owners(seed, 1);
        self.contribute(output, output, seed, 1.0);
        for id in graph.ids().rev().filter(|id| reached[id.index()]) {
            let Some(operation) = graph.get(id).op.operation().filter(|_| self.wants[id.index()]) else { continue };
            operation.backward(&mut Emitter { builder: self, id });
            if let Some(dy) = self.program.gradients[id.index()] {
                self.owners[dy.offset] -= 1;
            }
        }

        self.recomputable();
        for id in graph.ids() {
            match &graph.get(id).op {
                Op::Input if self.wants[id.index()] => {
                    let gradient = self.gradient(id);
                    self.program.keep(gradient);
                }
                Op::Parameter if !self.wants[id.index()] => {
                    // another plan may have written there
                    let gradient = self.parameter_gradient(id);
                    self.step(id, Call::Fill(0.0, gradient), None);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The last passes of one of several ranks: from the loss and the gradients of its part to those of the batch.
    fn sum_over_ranks(&mut self, loss: NodeId) {
        let Some(part) = self.part else { return };
        let value = self.program.of_node[loss.index()].expect("the loss is computed");
        self.step(loss, Call::SumOverRanks(part.share(), value), None);
        let all = Span::new(GRADIENTS, 0, self.layout.parameters);
        let gradients = self.program.fixed([all.len].into(), all);
        self.step(loss, Call::SumOverRanks(1.0, gradients), None);
    }

    /// Lists the values that could be computed again for the backward passes.
    fn recomputable(&mut self) {
        for id in self.graph.ids() {
            if let Some(operation) = self.graph.get(id).op.operation().filter(|_| self.needed[id.index()]) {
                operation.recompute(&mut Emitter { builder: self, id });
            }
        }
    }

    /// The gradient of a node whose readers have all contributed.
    fn gradient(&self, id: NodeId) -> Span {
        self.program.gradients[id.index()].expect("a node that wants a gradient has a reader that gives it one")
    }

    /// Adds `weight` times the gradient `value` to the gradient of `target`, without a pass if it can share the value.
    fn contribute(&mut self, from: NodeId, target: NodeId, value: Span, weight: f64) {
        let is_first = self.program.gradients[target.index()].is_none();
        if is_first && (weight == 1.0 || self.takes_parts(target)) && self.graph.get(target).op != Op::Parameter {
            self.program.gradients[target.index()] = Some(value);
            self.program.weights[target.index()] = weight;
            self.owners.resize(self.program.values.len(), 0);
            self.owners[value.offset] += 1;
            return;
        }
        let (y, write) = self.gradient_to_write(from, target);
        self.step(from, Call::Scale(weight, add::Scale { x: value, y, write }), Some((y, vec![value])));
    }

    /// Whether the operation of a node takes its gradient in parts.
    fn takes_parts(&self, node: NodeId) -> bool {
        self.graph.get(node).op.operation().is_some_and(Operation::takes_gradient_in_parts)
    }

    /// Adds a gradient through a batch normalization, without a pass if the operation of `target` takes it as it is.
    fn contribute_norm(&mut self, from: NodeId, target: NodeId, norm: NormGradient) {
        if self.takes_parts(target) && self.program.norms[target.index()].is_none() {
            self.program.norms[target.index()] = Some(norm);
            return;
        }
        self.contribute_norm_at_once(from, target, norm);
    }

    /// The same by a pass.
    fn contribute_norm_at_once(&mut self, from: NodeId, target: NodeId, norm: NormGradient) {
        let shape = self.graph.shape(target);
        let (dz, channels) = (self.program.value(shape), shape.channels());
        let rows = shape.len() / channels;
        let params = EpilogueParams { rows, channels, activation: None, skip_weight: 0.0, dy_weight: 0.0 };
        let none = Span::EMPTY;
        let operands =
            Backward { saved: none, norm, dy: none, total: none, dz, db: none, db_write: Write::Set, workspace: none };
        self.step(from, Call::EpilogueBackward(params, operands), Some((dz, vec![norm.dy])));
        self.contribute(from, target, dz, 1.0);
    }

    /// Where the next contribution to the gradient of `target` goes, and whether it is the first.
    fn gradient_to_write(&mut self, from: NodeId, target: NodeId) -> (Span, Write) {
        let Some(old) = self.program.gradients[target.index()] else {
            let new = self.new_gradient(target);
            return (new, Write::Set);
        };
        let weight = self.program.weights[target.index()];
        if self.owners[old.offset] > 1 || weight != 1.0 {
            // other nodes share the value as their gradient, or it is to be multiplied: add to a copy
            self.owners[old.offset] -= 1;
            let new = self.new_gradient(target);
            let scale = Call::Scale(weight, add::Scale { x: old, y: new, write: Write::Set });
            self.step(from, scale, Some((new, vec![old])));
            return (new, Write::Add);
        }
        (old, Write::Add)
    }

    fn new_gradient(&mut self, target: NodeId) -> Span {
        let new = match &self.graph.get(target).op {
            Op::Parameter => self.parameter_gradient(target),
            _ => self.program.value(self.graph.shape(target)),
        };
        self.set_owners(new, 1);
        self.program.gradients[target.index()] = Some(new);
        self.program.weights[target.index()] = 1.0;
        new
    }

    fn parameter_gradient(&mut self, parameter: NodeId) -> Span {
        let place = Span { region: GRADIENTS, ..self.tensor(parameter) };
        self.program.fixed(self.graph.shape(parameter), place)
    }

    fn set_owners(&mut self, value: Span, owners: usize) {
        self.owners.resize(self.program.values.len(), 0);
        self.owners[value.offset] = owners;
    }

    /// Where a parameter or state lies.
    fn tensor(&self, id: NodeId) -> Span {
        let tensors = self.graph.tensors();
        let i = tensors.binary_search_by_key(&id, |tensor| tensor.node).expect("every parameter and state is listed");
        self.layout.spans[i]
    }

    fn step(&mut self, node: NodeId, call: Call, over: Option<(Span, Vec<Span>)>) {
        self.program.steps.push(Step { node, pass: self.pass, call, over });
    }
}

/// Which nodes the given ones are computed from, themselves included.
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
