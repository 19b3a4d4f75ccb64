//! Gradient-check cases.

use crate::graph::{Graph, NodeId};
use crate::{Init, Result, Shape};

type Build = Box<dyn Fn(&mut Graph, &[NodeId]) -> Result<NodeId>>;

/// One use of an operation, from which graphs to check are made.
pub(crate) struct Case {
    pub(crate) name: String,
    arguments: Vec<(&'static str, Shape)>,
    build: Build,
}

impl Case {
    /// `build` records the operation on nodes of the given shapes, all of which get gradients.
    pub(crate) fn new(
        name: &str,
        arguments: &[(&'static str, Shape)],
        build: impl Fn(&mut Graph, &[NodeId]) -> Result<NodeId> + 'static,
    ) -> Case {
        Case { name: name.to_owned(), arguments: arguments.to_vec(), build: Box::new(build) }
    }

    /// The operation on an input and parameters, and its output.
    pub(crate) fn plain(&self) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let leaves = self.leaves(&mut graph)?;
        let output = (self.build)(&mut graph, &leaves)?;
        Ok((graph, output))
    }

    /// The operation twice on the same computed values, and the sum of both: every gradient is written once, then
    /// added to.
    pub(crate) fn fan_out(&self) -> Result<(Graph, NodeId)> {
        let mut graph = Graph::new();
        let leaves = self.leaves(&mut graph)?;
        let mut computed = |leaf: &NodeId| graph.add(*leaf, *leaf, 0.25);
        let values = leaves.iter().map(&mut computed).collect::<Result<Vec<NodeId>>>()?;
        let first = (self.build)(&mut graph, &values)?;
        let second = (self.build)(&mut graph, &values)?;
        let output = graph.add(first, second, -0.4)?;
        Ok((graph, output))
    }

    /// The first argument as an input, the others as parameters.
    fn leaves(&self, graph: &mut Graph) -> Result<Vec<NodeId>> {
        let leaf = |(i, &(name, shape)): (usize, &(&'static str, Shape))| match i {
            0 => graph.input(name, shape),
            _ => graph.parameter(name, shape, Init::Uniform { bound: 1.0 }),
        };
        self.arguments.iter().enumerate().map(leaf).collect()
    }
}
