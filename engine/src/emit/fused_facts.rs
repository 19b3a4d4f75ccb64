//! [`FusedFacts`]: what fused layers need to know about a node.

use crate::ids::NodeId;
use kernels::Span;
use kernels::conv_epilogue::NormConvBackward;
use kernels::epilogue::NormGradient;

/// What fused layers need to know about a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct FusedFacts {
    /// Weight of the gradient that is not applied yet: 1, unless its operation takes the gradient as separate terms.
    pub(super) weight: f64,
    /// Gradient through a batch normalization, if its operation takes the gradient as separate terms.
    pub(super) norm: Option<NormGradient>,
    /// Mean and variance of the channels, if a pass writes them.
    pub(super) batch_stats: Option<[Span; 2]>,
}

impl Default for FusedFacts {
    fn default() -> FusedFacts {
        FusedFacts { weight: 1.0, norm: None, batch_stats: None }
    }
}

/// The gradient of a node as two terms: `weight dy`, and the gradient through a batch normalization. One of them may be
/// absent.
pub(crate) struct Gradient {
    pub(crate) norm: NormGradient,
    pub(crate) dy: Span,
    pub(crate) weight: f64,
}

/// Backward passes of node `from` that are left to `target`.
pub(super) struct Deferred {
    pub(super) from: NodeId,
    pub(super) target: NodeId,
    pub(super) passes: NormConvBackward,
}
