//! The operations: one file each, with all that the engine knows of it.
//!
//! A file holds the parameters that users give, the [`Graph`](crate::Graph) method that records the operation, and
//! its [`Operation`]: the shape rule, the passes that compute it and its gradients, what these read and may
//! overwrite, how its output is recomputed, and the cases that its gradients are checked with. A new operation is a
//! new file and a name in the list below.

mod activation;
mod add;
mod batch_norm;
pub(crate) mod case;
mod conv2d;
mod conv_transpose2d;
mod convolution;
mod custom;
mod loss;
mod norm_conv_act;
mod pad;
mod prelu;

pub use batch_norm::{BatchNorm, BatchNormNodes};
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::Conv2d;
pub use convolution::Convolution;
pub(crate) use custom::CustomPass;
pub use custom::{CustomOp, View};
pub use norm_conv_act::{NormConvAct, NormConvActNodes};

use crate::graph::{Node, NodeId};
use crate::plan::Emitter;
use crate::{Error, Result, Shape};
use add::Add;
use case::{Case, Random};
use custom::Custom;
use kernels::activation::Activation;
use kernels::loss::Loss;
use norm_conv_act::NormConvActOp;
use pad::Pad;
use prelu::Prelu;

/// What the engine knows of an operation.
pub(crate) trait Operation {
    /// Its name in messages: `conv2d`.
    fn kind(&self) -> &'static str;

    /// Checks the arguments, and gives the shape of the output.
    fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape>;

    /// Emits the passes that compute the output.
    fn forward(&self, cx: &mut Emitter<'_, '_>);

    /// Emits the passes that compute the gradients of the inputs that want one. What they read is kept for them.
    fn backward(&self, cx: &mut Emitter<'_, '_>);

    /// Lists the values of the forward passes that could be computed once more instead of being kept for the backward passes
    /// ([`Emitter::recomputable`]), in the order in which they were made. Only asked of training plans.
    fn recompute(&self, _cx: &mut Emitter<'_, '_>) {}

    /// Whether the passes use the moments of the first input's channels, if they can have them from whatever makes that input
    /// ([`Emitter::moments`]).
    fn reads_moments(&self) -> bool {
        false
    }

    /// Whether the backward passes take the gradient of the output in parts ([`Emitter::output_gradient`]).
    fn takes_gradient_in_parts(&self) -> bool {
        false
    }

    /// How many of the last inputs are states that a training plan updates.
    fn updates(&self) -> usize {
        0
    }

    /// The cases that its gradients are checked with: every parameter, and sizes at which loops have edges.
    fn cases() -> Vec<Case>
    where
        Self: Sized;

    /// Cases of random shapes and parameters, one of each kind that [`cases`](Self::cases) has, small enough for finite
    /// differences.
    fn random_cases(random: &mut Random) -> Vec<Case>
    where
        Self: Sized;
}

/// Defines [`Op`] and routes to the operations, all of them, from one list.
macro_rules! operations {
    ($($name:ident),*) => {
        /// What a node is.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Op {
            /// Written by the caller.
            Input,
            /// Trained.
            Parameter,
            /// Kept, not trained.
            State,
            $(
                /// The operation of this name.
                $name($name),
            )*
        }

        impl Op {
            /// What computes the node, or nothing if it is given.
            pub(crate) fn operation(&self) -> Option<&dyn Operation> {
                match self {
                    Op::Input | Op::Parameter | Op::State => None,
                    $(Op::$name(operation) => Some(operation),)*
                }
            }
        }

        /// The gradient-check cases of every operation.
        pub(crate) fn cases() -> Vec<Case> {
            let mut cases = Vec::new();
            $({
                let of_operation = <$name as Operation>::cases();
                assert!(!of_operation.is_empty(), "{} has no gradient-check case", stringify!($name));
                cases.extend(of_operation);
            })*
            cases
        }

        /// Random gradient-check cases of every operation.
        pub(crate) fn random_cases(random: &mut Random) -> Vec<Case> {
            let mut cases = Vec::new();
            $(cases.extend(<$name as Operation>::random_cases(random));)*
            cases
        }
    };
}

operations!(Conv2d, ConvTranspose2d, BatchNorm, NormConvActOp, Activation, Prelu, Add, Pad, Loss, Custom);

impl Op {
    /// Its name in messages: `conv2d`, `input`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Parameter => "parameter",
            Op::State => "state",
            op => op.operation().expect("not a leaf").kind(),
        }
    }

    /// Whether the value is given, not computed.
    pub(crate) fn is_leaf(&self) -> bool {
        self.operation().is_none()
    }

    /// The shape rule.
    pub(crate) fn shape(&self, arguments: &Arguments<'_>) -> Result<Shape> {
        self.operation().expect("leaves are not recorded on arguments").shape(arguments)
    }
}

/// The arguments of an operation that is being recorded.
pub(crate) struct Arguments<'a> {
    pub(crate) op: &'static str,
    /// Name of the node that is being recorded.
    pub(crate) node: &'a str,
    pub(crate) nodes: &'a [&'a Node],
    pub(crate) ids: &'a [NodeId],
}

impl Arguments<'_> {
    /// Shape of argument `i`.
    pub(crate) fn shape(&self, i: usize) -> Shape {
        self.nodes[i].shape
    }

    /// The sizes of argument `i`, which must have `N` dimensions, as in `expected`.
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
        self.wrong(argument, expected, format!("`{}` {}", self.nodes[i].name, self.shape(i)))
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
