//! [`Purpose`]: what a plan computes; [`PlanOptions`]: how it uses memory.

use crate::ids::NodeId;
use crate::mode::{Mode, Statistics};
use kernels::collective::Part;

/// How a plan uses memory. None of it changes a bit of the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether values share memory when their lifetimes allow. Default true; false is for finding out whether a wrong
    /// result comes from there.
    pub reuse: bool,
    /// Whether outputs of batch normalizations are computed again in the backward pass instead of being kept. Default
    /// true.
    pub recompute: bool,
    /// Elements that the arena should need at most. If it would need more, outputs of
    /// [`Graph::norm_conv_act`](crate::Graph::norm_conv_act) are computed again in the backward pass, as few as will
    /// do, and if that is not enough, convolutions too (gradient checkpointing). If it cannot be reached, the plan is
    /// the smallest there is; [`Plan::memory`](crate::Plan::memory) tells. Default: no limit.
    pub arena_limit: Option<usize>,
    /// Nodes that can be read after the run, beside the outputs.
    pub keep: Vec<NodeId>,
    /// Whether memory is filled with NaN before the run, and again when the value in it is no longer needed, so that
    /// a read of a value that is not there shows. Default: in builds with debug assertions.
    pub poison: bool,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions {
            reuse: true,
            recompute: true,
            arena_limit: None,
            keep: Vec::new(),
            poison: cfg!(debug_assertions),
        }
    }
}

/// What a plan computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Training {
        loss: NodeId,
        /// What this rank has of the batch, if there are others.
        part: Option<Part>,
    },
    Gradients {
        output: NodeId,
        wrt_inputs: bool,
    },
    Inference {
        outputs: Vec<NodeId>,
        statistics: Statistics,
    },
}

impl Purpose {
    pub(crate) fn outputs(&self) -> &[NodeId] {
        match self {
            Purpose::Training { loss: output, .. } | Purpose::Gradients { output, .. } => std::slice::from_ref(output),
            Purpose::Inference { outputs, .. } => outputs,
        }
    }

    pub(crate) fn part(&self) -> Option<Part> {
        match self {
            Purpose::Training { part, .. } => *part,
            Purpose::Gradients { .. } | Purpose::Inference { .. } => None,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        match self {
            Purpose::Training { .. } | Purpose::Gradients { .. } => Mode::Training,
            Purpose::Inference { statistics, .. } => Mode::Inference(*statistics),
        }
    }
}
