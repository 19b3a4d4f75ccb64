//! [`NonFinite`]: where a value that is NaN or infinite came from.

use crate::mode::Phase;
use std::fmt;

/// Where the first value that is NaN or infinite came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// It was there before the run, in an input, parameter or state.
    Given {
        /// Name of the input, parameter or state.
        name: String,
    },
    /// A pass computed it from finite values.
    Computed {
        /// Index of the step in the plan.
        step: usize,
        /// The pass: `conv2d.forward`.
        op: &'static str,
        /// Name of the node that it belongs to.
        node: String,
        /// Phase of the step.
        phase: Phase,
    },
    /// The norm of the gradients, which are finite, is more than a number holds.
    Norm,
    /// A state or parameter would have become so: a running statistic in a pass whose other results are finite, a
    /// parameter or its optimizer state in the optimizer's step.
    Updated {
        /// Name of the state or parameter.
        name: String,
    },
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NonFinite::Given { name } => write!(f, "given with `{name}`"),
            NonFinite::Computed { step, op, node, phase } => {
                write!(f, "in {op} of node `{node}` ({phase}, step {step} of the plan)")
            }
            NonFinite::Norm => write!(f, "in the norm of the gradients"),
            NonFinite::Updated { name } => write!(f, "in the update of `{name}`"),
        }
    }
}
