//! [`Graph`]: what to compute.

mod group;
mod node;
mod operation;

pub use group::Group;
pub use node::TensorInfo;
pub(crate) use node::{Node, Op};
pub(crate) use operation::{Argument, Arguments, Operation};

use crate::ids::{GraphId, NodeId};
use crate::{Error, Init, Result, Shape};
use std::sync::Arc;

/// A network as a list of nodes, each an operation on earlier ones.
///
/// Methods check shapes and record. A [`Plan`](crate::Plan) decides how to compute, and a [`Session`](crate::Session)
/// computes. Shapes are fixed, batch size included: for another batch size, record another graph with the same
/// parameters, and give the plans of both to one session.
///
/// Methods that record an operation: [`conv2d`](Graph::conv2d), [`conv_transpose2d`](Graph::conv_transpose2d),
/// [`linear`](Graph::linear), [`batch_norm`](Graph::batch_norm), [`group_norm`](Graph::group_norm),
/// [`activation`](Graph::activation), [`prelu`](Graph::prelu), [`rrelu`](Graph::rrelu), [`add`](Graph::add),
/// [`pad`](Graph::pad), [`concat`](Graph::concat), [`slice_channels`](Graph::slice_channels),
/// [`max_pool2d`](Graph::max_pool2d), [`avg_pool2d`](Graph::avg_pool2d), [`upsample`](Graph::upsample),
/// [`loss`](Graph::loss), [`softmax_cross_entropy`](Graph::softmax_cross_entropy), [`reshape`](Graph::reshape),
/// [`flatten`](Graph::flatten), and [`custom`](Graph::custom) for operations of your own.
#[derive(Clone, Debug)]
pub struct Graph {
    id: GraphId,
    nodes: Vec<Node>,
    tensors: Vec<TensorInfo>,
}

impl Default for Graph {
    fn default() -> Graph {
        Graph::new()
    }
}

impl Graph {
    /// A graph without nodes.
    pub fn new() -> Graph {
        Graph { id: GraphId::new(), nodes: Vec::new(), tensors: Vec::new() }
    }

    /// A value that the caller writes before every run: images, targets.
    ///
    /// # Errors
    /// If the name is taken or the shape has no elements.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> Result<NodeId> {
        self.leaf(Op::Input, name, shape.into())
    }

    /// A value that the optimizer trains.
    ///
    /// # Errors
    /// If the name is taken, the shape has no elements, or the initial values are not finite.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<NodeId> {
        self.tensor(Op::Parameter, name, shape.into(), init)
    }

    /// A value that is kept and saved like a parameter, but not trained: running statistics.
    ///
    /// # Errors
    /// If the name is taken, the shape has no elements, or the initial values are not finite.
    pub fn state(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<NodeId> {
        self.tensor(Op::State, name, shape.into(), init)
    }

    /// Puts a parameter into a group: factors of the learning rate and weight decay of a [`Step`](crate::Step). Without
    /// this call they are 1. Plans made before do not change.
    ///
    /// # Errors
    /// If the node is not a parameter of this graph, or a factor is negative or not finite.
    pub fn set_group(&mut self, parameter: NodeId, group: Group) -> Result<()> {
        self.check(parameter)?;
        let Node { op, name, .. } = self.get(parameter);
        let is_parameter = matches!(op, Op::Parameter);
        let problem = if is_parameter { group.problem() } else { Some("only parameters have a group".to_owned()) };
        if let Some(message) = problem {
            return Err(Error::Params { op: op.kind(), node: name.clone(), message });
        }
        let i = self.tensor_index(parameter);
        self.tensors[i].group = Some(group);
        self.tensors[i].trained = !group.is_frozen();
        Ok(())
    }

    /// Names the result of an operation, for messages, the printed plan and profiles. By default the name is the
    /// operation and the node's index: `conv2d_12`. Inputs, parameters and states keep the name that they were recorded
    /// with.
    ///
    /// # Panics
    /// If the node is not of this graph.
    pub fn set_name(&mut self, node: NodeId, name: &str) {
        if !self.get(node).op.is_leaf() {
            self.nodes[node.index()].name = name.to_owned();
        }
    }

    /// Shape of a node.
    ///
    /// # Panics
    /// If the node is not of this graph.
    pub fn shape(&self, node: NodeId) -> Shape {
        self.get(node).shape
    }

    /// Name of a node.
    ///
    /// # Panics
    /// If the node is not of this graph.
    pub fn name(&self, node: NodeId) -> &str {
        &self.get(node).name
    }

    /// The first node of this name.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.ids().find(|&id| self.get(id).name == name)
    }

    /// Parameters and states in the order of recording.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node, after the nodes that it depends on.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        let id = self.id;
        (0..self.nodes.len()).map(move |index| NodeId::new(id, index))
    }

    /// Index in [`tensors`](Self::tensors) of a parameter or state.
    pub(crate) fn tensor_index(&self, node: NodeId) -> usize {
        self.tensors.binary_search_by_key(&node, |tensor| tensor.node).expect("every parameter and state is listed")
    }

    /// # Panics
    /// If the node is not of this graph.
    pub(crate) fn get(&self, id: NodeId) -> &Node {
        if let Err(error) = self.check(id) {
            panic!("{error}");
        }
        &self.nodes[id.index()]
    }

    /// # Errors
    /// If the node is not of this graph.
    pub(crate) fn check(&self, id: NodeId) -> Result<()> {
        match id.index() < self.nodes.len() && id.graph == self.id {
            true => Ok(()),
            false => Err(Error::UnknownNode { index: id.index() }),
        }
    }

    /// Records an operation on `inputs`, under the name `prefix_index`, after checking its shape rule.
    pub(crate) fn record(
        &mut self,
        prefix: &str,
        operation: impl Operation + 'static,
        inputs: &[NodeId],
    ) -> Result<NodeId> {
        let name = format!("{prefix}_{}", self.nodes.len());
        let list = self.arguments(inputs)?;
        let shape = operation.shape(&Arguments { op: operation.kind(), node: &name, list: &list })?;
        self.push(Node { op: Op::Computed(Arc::new(operation)), inputs: inputs.to_vec(), shape, name })
    }

    /// What an operation sees of its arguments.
    ///
    /// # Errors
    /// If one is not of this graph.
    pub(crate) fn arguments(&self, ids: &[NodeId]) -> Result<Vec<Argument<'_>>> {
        let argument = |&id: &NodeId| {
            self.check(id)?;
            let Node { op, name, shape, .. } = self.get(id);
            Ok(Argument { id, name, kind: op.kind(), shape: *shape })
        };
        ids.iter().map(argument).collect()
    }

    fn leaf(&mut self, op: Op, name: &str, shape: Shape) -> Result<NodeId> {
        if self.nodes.iter().any(|node| node.op.is_leaf() && node.name == name) {
            return Err(Error::DuplicateName { name: name.to_owned() });
        }
        self.push(Node { op, inputs: Vec::new(), shape, name: name.to_owned() })
    }

    fn tensor(&mut self, op: Op, name: &str, shape: Shape, init: Init) -> Result<NodeId> {
        let trained = matches!(op, Op::Parameter);
        if let Some(message) = init.problem() {
            return Err(Error::Params { op: op.kind(), node: name.to_owned(), message });
        }
        let node = self.leaf(op, name, shape)?;
        let group = trained.then(Group::default);
        self.tensors.push(TensorInfo { name: name.to_owned(), shape, trained, group, init, node });
        Ok(node)
    }

    fn push(&mut self, node: Node) -> Result<NodeId> {
        if !node.shape.is_valid() {
            return Err(Error::Size { op: node.op.kind(), node: node.name, shape: node.shape });
        }
        self.nodes.push(node);
        Ok(NodeId::new(self.id, self.nodes.len() - 1))
    }
}
