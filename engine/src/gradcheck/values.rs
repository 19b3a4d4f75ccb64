//! The values at which gradients are checked.

use super::options::GradcheckOptions;
use crate::graph::Op;
use crate::ids::{NodeId, PlanId};
use crate::init::{Uniform, round_to_f32};
use crate::mode::Statistics;
use crate::plan::Plan;
use crate::session::Session;
use crate::{Graph, Init, Result, Shape};
use kernels::{Backend, Element};

/// An input, parameter or state and its values.
pub(super) struct Leaf {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) shape: Shape,
    op: Op,
    pub(super) values: Vec<f64>,
}

/// Values of every leaf that a session of the output needs, and the weights of the output's elements.
pub(super) struct Values {
    pub(super) leaves: Vec<Leaf>,
    pub(super) cotangent: Vec<f64>,
}

/// The plan that finite differences run: forward passes only.
pub(super) fn objective_plan(graph: &Graph, output: NodeId) -> Result<Plan> {
    Plan::inference(graph, &[output], Statistics::Batch)
}

/// Stream of the cotangent's random numbers. A leaf uses the stream of its node's index.
const COTANGENT: u64 = u64::MAX;

impl Values {
    /// Draws values that f32 can represent, so that every backend gets the same values.
    pub(super) fn draw(graph: &Graph, output: NodeId, options: &GradcheckOptions) -> Result<Values> {
        let plan = objective_plan(graph, output)?;
        let mut leaves = Vec::new();
        for node in graph.ids().filter(|&id| graph.get(id).op.is_leaf()) {
            let (op, shape) = (graph.get(node).op.clone(), graph.shape(node));
            if matches!(op, Op::Input) && plan.program.of_node[node.index()].is_none() {
                continue;
            }
            let given = options.inputs.iter().find(|(input, _)| *input == node);
            let values = match given {
                Some((_, values)) => values.clone(),
                None => draw(graph, node, options.seed),
            };
            leaves.push(Leaf { node, name: graph.name(node).to_owned(), shape, op, values });
        }
        let cotangent = uniform(options.seed, COTANGENT, 0.0, 1.0, graph.shape(output).len());
        Ok(Values { leaves, cotangent })
    }
}

impl Leaf {
    /// `input`, `parameter` or `state`.
    pub(super) fn kind(&self) -> &'static str {
        self.op.kind()
    }

    /// Writes its values to a session of one plan.
    pub(super) fn write<B: Backend>(&self, session: &mut Session<B>, values: &[f64]) -> Result<()> {
        let values: Vec<B::Element> = values.iter().map(|&x| B::Element::from_f64(x)).collect();
        match self.op {
            Op::Input => session.write_input(PlanId(0), self.node, &values),
            _ => session.set_tensor(&self.name, &values),
        }
    }
}

/// Random values for a leaf. Parameters with a constant initial value vary around it, so that no gradient is 0 by
/// symmetry.
fn draw(graph: &Graph, node: NodeId, seed: u64) -> Vec<f64> {
    let len = graph.shape(node).len();
    let stream = node.index() as u64;
    let Some(tensor) = graph.tensors().iter().find(|tensor| tensor.node == node) else {
        return uniform(seed, stream, 0.0, 1.0, len);
    };
    let is_state = tensor.group.is_none();
    let around = |center| if !is_state { uniform(seed, stream, center, 0.5, len) } else { vec![center; len] };
    match tensor.init {
        Init::Zeros => around(0.0),
        Init::Ones => around(1.0),
        Init::Constant(value) => around(value),
        Init::Uniform { bound } => uniform(seed, stream, 0.0, bound, len),
    }
}

/// Uniform in `[center - bound, center + bound)`.
fn uniform(seed: u64, stream: u64, center: f64, bound: f64, len: usize) -> Vec<f64> {
    let mut uniform = Uniform::new(seed, stream);
    (0..len).map(|_| round_to_f32(center + uniform.next(bound))).collect()
}
