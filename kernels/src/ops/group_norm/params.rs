//! [`GroupNormParams`]: shape and constants of a group normalization.

use crate::memory::Span;

/// Shape and constants of a group normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNormParams {
    /// Images, `N`.
    pub images: usize,
    /// Pixels of an image, `H W`.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Groups of channels; they divide the channels.
    pub groups: usize,
    /// Added to the variance, for stability.
    pub eps: f64,
}

impl GroupNormParams {
    /// Channels of a group.
    pub(super) fn of_group(&self) -> usize {
        self.channels / self.groups
    }

    /// Values of a group in an image.
    pub(super) fn group_len(&self) -> usize {
        self.rows * self.of_group()
    }

    /// Values of an image.
    pub(super) fn image_len(&self) -> usize {
        self.rows * self.channels
    }

    /// Asserts the lengths of tensors, of operands of a channel and of operands of a group and image.
    pub(super) fn check(&self, tensors: &[Span], of_channels: &[Span], of_groups: &[Span]) {
        assert!(self.groups > 0 && self.channels.is_multiple_of(self.groups), "{self:?}");
        let are = |operands: &[Span], len: usize| operands.iter().all(|operand| operand.len == len);
        assert!(are(tensors, self.images * self.image_len()), "tensors of {self:?}: {tensors:?}");
        assert!(are(of_channels, self.channels), "operands of a channel of {self:?}: {of_channels:?}");
        assert!(are(of_groups, self.images * self.groups), "operands of a group of {self:?}: {of_groups:?}");
    }
}
