//! [`NodeParts`]: what is known of a node for fused layers.

use kernels::Span;
use kernels::epilogue::NormGradient;

/// What is known of a node for fused layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeParts {
    /// What the gradient is still to be multiplied by: 1, unless its operation takes gradients in parts.
    pub(super) weight: f64,
    /// The part of the gradient that comes from a batch normalization, if its operation takes gradients in parts.
    pub(super) norm: Option<NormGradient>,
    /// Mean and variance of the channels, if a pass writes them.
    pub(super) batch_stats: Option<[Span; 2]>,
}

impl Default for NodeParts {
    fn default() -> NodeParts {
        NodeParts { weight: 1.0, norm: None, batch_stats: None }
    }
}

/// The gradient of a node, in parts: `weight dy`, and what comes from a batch normalization. One of them may be absent.
pub(crate) struct Gradient {
    pub(crate) norm: NormGradient,
    pub(crate) dy: Span,
    pub(crate) weight: f64,
}
