//! Nodes of a graph.

use super::group::Group;
use super::operation::Operation;
use crate::ids::NodeId;
use crate::{Init, Shape};
use std::fmt;
use std::sync::Arc;

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Written by the caller.
    Input,
    /// Trained.
    Parameter,
    /// Kept, not trained.
    State,
    /// The result of an operation on other nodes.
    Computed(Arc<dyn Operation>),
}

impl Op {
    /// The operation that computes the node; none for a leaf.
    pub(crate) fn operation(&self) -> Option<&dyn Operation> {
        match self {
            Op::Computed(operation) => Some(&**operation),
            Op::Input | Op::Parameter | Op::State => None,
        }
    }

    /// Its name in messages: `conv2d`, `input`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Parameter => "parameter",
            Op::State => "state",
            Op::Computed(operation) => operation.kind(),
        }
    }

    /// Whether the value is given rather than computed.
    pub(crate) fn is_leaf(&self) -> bool {
        self.operation().is_none()
    }
}

/// One value, and how it is computed.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) shape: Shape,
    pub(crate) name: String,
}

/// A parameter or state: a session keeps it between runs, and a checkpoint holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its unique name: `encoder.layer_1.conv.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Whether the optimizer changes it: true for parameters, false for states and for parameters that are frozen.
    pub trained: bool,
    /// The group of a parameter; none for a state.
    pub group: Option<Group>,
    /// Its initial values.
    pub init: Init,
    /// Its node in the graph.
    pub node: NodeId,
}

impl TensorInfo {
    /// Whether both are the same tensor, possibly of two graphs.
    pub(crate) fn matches(&self, other: &TensorInfo) -> bool {
        // The other fields, without the node.
        let of = |info: &TensorInfo| TensorInfo { node: self.node, ..info.clone() };
        of(self) == of(other)
    }
}

/// ``parameter `x` [3, 3] (Ones)``, and the factors of the group if they are not 1
impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.group.is_some() { "parameter" } else { "state" };
        write!(f, "{kind} `{}` {} ({:?})", self.name, self.shape, self.init)?;
        match self.group {
            Some(group) if group.is_frozen() => write!(f, ", frozen"),
            Some(Group { lr, weight_decay }) if (lr, weight_decay) != (1.0, 1.0) => {
                write!(f, ", lr times {lr}, weight decay times {weight_decay}")
            }
            _ => Ok(()),
        }
    }
}
