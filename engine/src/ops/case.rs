//! Gradient-check cases.

use crate::graph::{Graph, Operation};
use crate::ids::NodeId;
use crate::init::Uniform;
use crate::{Init, Result, Shape};
use std::fmt;
use std::ops::RangeInclusive;

/// The cases that an operation's gradients are checked with.
pub(crate) trait Cases: Operation {
    /// Cases for every parameter, with sizes at the edges of loops.
    fn cases() -> Vec<Case>;

    /// Cases with random shapes and parameters, one of each kind that [`cases`](Self::cases) has, small enough for
    /// finite differences.
    fn random_cases(random: &mut Random) -> Vec<Case>;
}

type Build = Box<dyn Fn(&mut Graph, &[NodeId]) -> Result<NodeId>>;

/// Most floating-point operations of a random case, so that `Reference` takes a few milliseconds at most.
pub(super) const MOST_FLOPS: usize = 2_000_000;

/// One use of an operation, from which the graphs to check are built.
pub(crate) struct Case {
    /// The operation, in reports: `conv2d`, `gelu`.
    pub(crate) op: String,
    /// The operation, and what is special about the case.
    pub(crate) name: String,
    arguments: Vec<(&'static str, Shape)>,
    build: Build,
    /// Sets of arguments in which the operation is linear.
    linear: Vec<Vec<usize>>,
}

/// A graph that uses the operation.
pub(crate) struct Use {
    pub(crate) graph: Graph,
    pub(crate) output: NodeId,
    /// Sets of leaves in which the output is linear.
    pub(crate) linear: Vec<Vec<NodeId>>,
}

impl Case {
    /// `build` records the operation on nodes of the given shapes, all of which get gradients.
    pub(crate) fn new(
        op: impl fmt::Display,
        detail: impl fmt::Display,
        arguments: &[(&'static str, Shape)],
        build: impl Fn(&mut Graph, &[NodeId]) -> Result<NodeId> + 'static,
    ) -> Case {
        let (op, name) = (op.to_string(), format!("{op} {detail}").trim_end().to_owned());
        Case { op, name, arguments: arguments.to_vec(), build: Box::new(build), linear: Vec::new() }
    }

    /// Declares that the output is linear in each of these sets of arguments while the others are constant: scaling all
    /// arguments of a set scales the output by the same factor.
    pub(crate) fn linear_in(self, sets: &[&[usize]]) -> Case {
        Case { linear: sets.iter().map(|set| set.to_vec()).collect(), ..self }
    }

    /// The operation on an input and parameters.
    pub(crate) fn plain(&self) -> Result<Use> {
        let mut graph = Graph::new();
        let leaves = self.leaves(&mut graph)?;
        let output = (self.build)(&mut graph, &leaves)?;
        Ok(self.use_of(graph, &leaves, output))
    }

    /// The operation twice on the same computed values, and the sum of both: every gradient is set once, then added to.
    pub(crate) fn fan_out(&self) -> Result<Use> {
        let mut graph = Graph::new();
        let leaves = self.leaves(&mut graph)?;
        let mut computed = |leaf: &NodeId| graph.add(*leaf, *leaf, 0.25);
        let values = leaves.iter().map(&mut computed).collect::<Result<Vec<NodeId>>>()?;
        let first = (self.build)(&mut graph, &values)?;
        let second = (self.build)(&mut graph, &values)?;
        let output = graph.add(first, second, -0.4)?;
        Ok(self.use_of(graph, &leaves, output))
    }

    fn use_of(&self, graph: Graph, leaves: &[NodeId], output: NodeId) -> Use {
        let linear = self.linear.iter().map(|set| set.iter().map(|&i| leaves[i]).collect()).collect();
        Use { graph, output, linear }
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

/// Draws the shapes of random cases.
pub(crate) struct Random(Uniform);

/// Stream of the random numbers. The values of a leaf use the stream of its node's index.
const SHAPES: u64 = 1 << 61;

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(Uniform::new(seed, SHAPES))
    }

    /// A number in the range.
    pub(crate) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.0.below(range.end() - range.start() + 1)
    }

    /// A pair of numbers in the range.
    pub(crate) fn pair(&mut self, range: RangeInclusive<usize>) -> [usize; 2] {
        [self.within(range.clone()), self.within(range)]
    }

    /// A number in `[-bound, bound)`.
    pub(crate) fn number(&mut self, bound: f64) -> f64 {
        self.0.next(bound)
    }

    /// A shape of one to four dimensions.
    pub(crate) fn shape(&mut self) -> Shape {
        let [a, b] = self.pair(1..=7);
        match self.within(1..=4) {
            1 => [a * b].into(),
            2 => [a, b].into(),
            3 => [a, b, self.within(1..=5)].into(),
            _ => [self.within(1..=3), a, b, self.within(1..=5)].into(),
        }
    }
}
