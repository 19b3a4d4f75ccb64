//! [`Purpose`]: what a plan computes; [`PlanOptions`]: how it uses memory and joins passes.

use crate::ids::NodeId;
use crate::mode::{Mode, Statistics};
use kernels::collective::Part;

/// How a plan uses memory and joins passes. No option but [`fuse`](Self::fuse) changes a bit of the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    /// Whether values share memory when their lifetimes allow. Default true; false helps to find out whether a wrong
    /// result comes from sharing.
    pub reuse: bool,
    /// Whether outputs of batch normalizations are recomputed in the backward phase instead of kept. Default true.
    pub recompute: bool,
    /// Most elements that the arena should have. If it would need more, outputs that take one pass over memory, such as
    /// those of [`Graph::norm_conv_act`](crate::Graph::norm_conv_act), are recomputed in the backward phase, as few as
    /// possible. If that is not enough, convolutions are too (gradient checkpointing). If the limit cannot be met, the
    /// plan is the smallest possible: see [`Plan::memory`](crate::Plan::memory). Default: no limit.
    pub arena_limit: Option<usize>,
    /// Nodes that can be read after the run, besides the outputs.
    pub keep: Vec<NodeId>,
    /// Whether memory is filled with NaN before the run, and again when its value is no longer needed, so that a wrong
    /// read shows. Default: true in builds with debug assertions.
    pub poison: bool,
    /// Whether a convolution and what follows it are one pass in a fused layer, and a batch normalization and the
    /// activation after it anywhere: a CPU need not go to memory in between. Default true; false runs them one after
    /// another, so that each has its own time ([`Session::run_timed`](crate::Session::run_timed)). Results differ by
    /// rounding.
    pub fuse: bool,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions {
            reuse: true,
            recompute: true,
            arena_limit: None,
            keep: Vec::new(),
            poison: cfg!(debug_assertions),
            fuse: true,
        }
    }
}

/// What a plan computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Training {
        loss: NodeId,
        /// This rank's part of the batch, if there are several ranks.
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
