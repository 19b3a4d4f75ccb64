//! [`Operation`]: what a graph and a plan know about an operation.

use crate::emit::Emitter;
use crate::ids::NodeId;
use crate::mode::Mode;
use crate::{Error, Result, Shape};
use std::fmt;

/// What the engine knows about an operation. Each operation has one file in `ops` with everything about it.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    /// Its name in messages: `conv2d`.
    fn kind(&self) -> &'static str;

    /// Checks the arguments, and returns the shape of the output: by default, that of the first argument.
    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        Ok(arguments.shape(0))
    }

    /// Emits the passes that compute the output.
    fn forward(&self, cx: &mut Emitter<'_>);

    /// Emits the passes that compute the gradients of the inputs that want one. The plan keeps the values that they
    /// read.
    fn backward(&self, cx: &mut Emitter<'_>);

    /// Lists the values of the forward passes that can be recomputed instead of kept for the backward passes
    /// ([`Emitter::recomputable`]), in the order in which they are computed. Called only for plans with gradients.
    fn recompute(&self, _cx: &mut Emitter<'_>) {}

    /// Whether the output has the values of the first argument, perhaps in another shape, so that both can be one
    /// value. If the plan makes them two, the forward pass copies.
    fn is_view(&self, _mode: Mode) -> bool {
        false
    }

    /// Whether the passes use the batch statistics of the first input's channels, so that the pass that computes the
    /// input should compute them too ([`Fused::batch_stats`](crate::emit::Fused::batch_stats)).
    fn reads_batch_stats(&self) -> bool {
        false
    }

    /// Whether the backward passes take the gradient of the output as separate terms
    /// ([`Fused::output_gradient`](crate::emit::Fused::output_gradient)).
    fn takes_gradient_terms(&self) -> bool {
        false
    }

    /// How many of the last inputs are states that a training plan updates.
    fn updates(&self) -> usize {
        0
    }
}

/// An argument of an operation that is being recorded.
#[derive(Clone, Debug)]
pub(crate) struct Argument<'a> {
    pub(crate) id: NodeId,
    pub(crate) name: &'a str,
    /// Its kind of node: `state`, `conv2d`.
    pub(crate) kind: &'static str,
    pub(crate) shape: Shape,
}

/// The arguments of an operation that is being recorded.
pub(crate) struct Arguments<'a> {
    pub(crate) op: &'static str,
    /// Name of the node that is being recorded.
    pub(crate) node: &'a str,
    pub(crate) list: &'a [Argument<'a>],
}

impl Arguments<'_> {
    /// Shape of argument `i`.
    pub(crate) fn shape(&self, i: usize) -> Shape {
        self.list[i].shape
    }

    /// Number of arguments.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The `N` sizes of argument `i`. An error says that it should be `expected`.
    pub(crate) fn dims<const N: usize>(&self, i: usize, argument: &'static str, expected: &str) -> Result<[usize; N]> {
        self.shape(i).dims().try_into().map_err(|_| self.wrong_shape(i, argument, expected))
    }

    /// An error unless argument `i` has the shape `expected`.
    pub(crate) fn expect(&self, i: usize, argument: &'static str, expected: Shape) -> Result<()> {
        match self.shape(i) == expected {
            true => Ok(()),
            false => Err(self.wrong_shape(i, argument, expected)),
        }
    }

    /// Argument `i` has the wrong shape.
    pub(crate) fn wrong_shape(&self, i: usize, argument: &'static str, expected: impl ToString) -> Error {
        self.wrong(argument, expected, format!("`{}` {}", self.list[i].name, self.list[i].shape))
    }

    /// An argument is not what it should be.
    pub(crate) fn wrong(&self, argument: &'static str, expected: impl ToString, got: String) -> Error {
        Error::Argument { op: self.op, node: self.node.to_owned(), argument, expected: expected.to_string(), got }
    }

    /// The operation's parameters are not what they should be.
    pub(crate) fn wrong_params(&self, message: impl ToString) -> Error {
        Error::Params { op: self.op, node: self.node.to_owned(), message: message.to_string() }
    }
}
