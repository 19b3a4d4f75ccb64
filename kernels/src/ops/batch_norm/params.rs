//! [`BatchNormParams`]: shape and constants of a batch normalization.

use crate::memory::Span;

/// Shape and constants of a batch normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormParams {
    /// Values per channel, `N H W`.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Added to the variance, for stability.
    pub eps: f64,
    /// Weight of the batch statistics in the running ones; 0 leaves the running ones as they are.
    pub momentum: f64,
}

impl BatchNormParams {
    /// Whether every operand is `[rows, channels]`.
    pub(super) fn are_rows<const N: usize>(&self, operands: [Span; N]) -> bool {
        operands.iter().all(|operand| operand.len == self.rows * self.channels)
    }

    /// Whether every operand is `[channels]`.
    pub(super) fn are_channels<const N: usize>(&self, operands: [Span; N]) -> bool {
        operands.iter().all(|operand| operand.len == self.channels)
    }

    /// Whether every operand is `[channels]`, or absent.
    pub(super) fn are_channels_or_absent<const N: usize>(&self, operands: [Span; N]) -> bool {
        operands.iter().all(|operand| operand.is_empty() || operand.len == self.channels)
    }
}
