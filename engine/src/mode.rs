//! What a plan is for, and the phases of it.

use std::fmt;

/// What batch normalization normalizes with in an inference plan, and what the slopes of
/// [`Graph::rrelu`](crate::Graph::rrelu) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// The running statistics, and the mean slope: evaluation mode.
    Running,
    /// Those of the batch and random slopes, as in training, but the running statistics stay as they are.
    Batch,
}

/// What a plan is for, as far as operations care.
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
    /// Computes it once more, for a backward step.
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
