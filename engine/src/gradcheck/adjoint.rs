//! The identity that holds if forward and backward passes are adjoint to each other.

use super::outcome::Outcome;
use super::values::Values;
use crate::ids::NodeId;
use crate::{Error, Graph, Result};

/// Inputs and parameters in which the output is linear.
pub(super) struct LinearSet {
    /// Their names.
    pub(super) name: String,
    /// Their indices among the leaves.
    leaves: Vec<usize>,
}

impl LinearSet {
    pub(super) fn new(graph: &Graph, values: &Values, set: &[NodeId]) -> Result<LinearSet> {
        let leaf = |&node: &NodeId| {
            graph.check(node)?;
            let found = values.leaves.iter().position(|leaf| leaf.node == node && leaf.kind() != "state");
            found.ok_or_else(|| Error::NotDifferentiated { node: graph.name(node).to_owned() })
        };
        let leaves = set.iter().map(leaf).collect::<Result<Vec<usize>>>()?;
        Ok(LinearSet { name: set.iter().map(|&node| graph.name(node)).collect::<Vec<_>>().join(", "), leaves })
    }

    /// `sum <x, dx> - <c, y>`: 0, but for rounding errors.
    pub(super) fn difference(&self, values: &Values, outcome: &Outcome) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let backward = |&leaf: &usize| outcome.gradients[leaf].as_ref().map(|dx| dot(&values.leaves[leaf].values, dx));
        self.leaves.iter().filter_map(backward).sum::<f64>() - dot(&values.cotangent, &outcome.output)
    }
}
