//! What a plan is for, and its phases.

use std::fmt;

/// Which statistics batch normalization uses in an inference plan, and which slopes
/// [`Graph::rrelu`](crate::Graph::rrelu) uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// The running statistics, and the mean slope: evaluation mode.
    Running,
    /// The statistics of the batch, and random slopes, as in training. The running statistics do not change.
    Batch,
}

/// What a plan is for, as operations distinguish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Training,
    Inference(Statistics),
}

/// The phase of a plan that a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Computes the value of a node.
    Forward,
    /// Computes the value of a node again, for a backward step.
    Recompute,
    /// Computes gradients.
    Backward,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Forward => "forward",
            Phase::Recompute => "recompute",
            Phase::Backward => "backward",
        })
    }
}
