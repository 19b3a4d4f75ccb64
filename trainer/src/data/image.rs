//! An image in memory.

use std::borrow::Cow;

/// An image of bytes, 0 for black and 255 for white.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// The pixels `[height][width][channels]`.
    pub pixels: Cow<'a, [u8]>,
}

impl Image<'_> {
    /// The number of pixels.
    pub fn area(&self) -> usize {
        self.height * self.width
    }
}
