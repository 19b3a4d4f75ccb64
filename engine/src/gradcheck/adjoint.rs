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

/// `sum a b`, as in twice the precision: Ogita, Rump & Oishi, "Accurate sum and dot product", 2005, algorithm 5.3. A
/// plain sum of some ten thousand products would be farther off than the passes in f64 that it checks.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let product = a * b;
        let total = sum + product;
        let part = total - sum;
        lost += (sum - (total - part)) + (product - part) + a.mul_add(b, -product);
        sum = total;
    }
    sum + lost
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
        let backward = |&leaf: &usize| outcome.gradients[leaf].as_ref().map(|dx| dot(&values.leaves[leaf].values, dx));
        self.leaves.iter().filter_map(backward).sum::<f64>() - dot(&values.cotangent, &outcome.output)
    }
}

#[cfg(test)]
mod tests {
    use super::dot;

    #[test]
    fn products_are_summed_without_loss() {
        assert_eq!(dot(&[1e16, 1.0, -1e16], &[1.0; 3]), 1.0);
        let third = 1.0 / 3.0;
        assert_eq!(dot(&[third, -1.0], &[third, third * third]), third.mul_add(third, -(third * third)));
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
