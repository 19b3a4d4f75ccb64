//! [`EpilogueParams`]: shape and constants of an epilogue.

use crate::ops::activation::Activation;

/// Shape and constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpilogueParams {
    /// Pixels of the batch, `N P Q`.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// `f`; the identity if it is absent.
    pub activation: Option<Activation>,
    /// Weight of the skip connection.
    pub skip_weight: f64,
    /// Weight of the gradient that comes from elsewhere.
    pub dy_weight: f64,
}

impl EpilogueParams {
    /// Elements of a `[rows, channels]` operand.
    pub fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Whether a `[rows, channels]` operand has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
