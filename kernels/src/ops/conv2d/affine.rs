//! [`Affine`]: how a pass reads an operand that it maps.

use crate::memory::Span;

/// A map of an operand as a pass reads it: `scale[c] a + shift[c]` in channel `c`, or `a` itself if both are empty. So
/// a batch normalization before a convolution needs no pass of its own. Padding is not mapped: its zeros are zeros of
/// the mapped operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affine {
    /// Factor of each channel.
    pub scale: Span,
    /// What is added, after that.
    pub shift: Span,
}

impl Affine {
    /// The operand as it is.
    pub const NONE: Affine = Affine { scale: Span::EMPTY, shift: Span::EMPTY };

    /// Whether the operand is read as it is.
    pub fn is_none(&self) -> bool {
        self.scale.is_empty()
    }

    /// Asserts that it is a map of so many channels, or none.
    pub(super) fn check(&self, channels: usize) {
        assert_eq!(self.scale.len, self.shift.len, "a map has a scale and a shift");
        assert!(self.is_none() || self.scale.len == channels, "map of {} for {channels} channels", self.scale.len);
    }
}

/// The values of an operand, and its [`Affine`] map: two slices as long as it has channels, or empty. `R` is how a
/// backend holds values that it reads: `&[f32]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped<R> {
    /// The operand before it is mapped.
    pub(super) values: R,
    /// Factor of each channel.
    pub(super) scale: R,
    /// What is added, after that.
    pub(super) shift: R,
}

impl<T> Mapped<&[T]> {
    /// Whether the values are those of the operand.
    pub(super) fn is_plain(&self) -> bool {
        self.scale.is_empty()
    }
}
