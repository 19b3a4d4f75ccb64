//! [`ChannelsParams`]: which channels.

use crate::memory::Span;

/// The channels `begin..begin + narrow` of `[rows, wide]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelsParams {
    /// Rows.
    pub rows: usize,
    /// Channels of the wide tensor.
    pub wide: usize,
    /// The first that the narrow one has.
    pub begin: usize,
    /// Channels of the narrow tensor.
    pub narrow: usize,
}

impl ChannelsParams {
    /// Asserts the lengths.
    pub(super) fn check(&self, wide: Span, narrow: Span) {
        assert!(self.begin + self.narrow <= self.wide, "{self:?}");
        assert_eq!(wide.len, self.rows * self.wide, "wide operand of {self:?}");
        assert_eq!(narrow.len, self.rows * self.narrow, "narrow operand of {self:?}");
    }
}
