//! Shapes of images and windows, and the constants of the index.

use crate::memory::Span;

/// Height and width of a window.
pub const WINDOW: usize = 7;

/// Pixels of a window.
pub(super) const WINDOW_LEN: usize = WINDOW * WINDOW;

/// Keeps the quotient of means defined: `(K1 L)^2` for values of a range `L` of 1.
pub(super) const C1: f64 = 0.01 * 0.01;

/// The same for the quotient of variances: `(K2 L)^2`.
pub(super) const C2: f64 = 0.03 * 0.03;

/// Shapes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SsimParams {
    /// Images.
    pub n: usize,
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

/// Images that have no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("images must have at least {WINDOW}x{WINDOW} pixels, which is the size of a window, not {0}x{1}")]
pub struct SizeError(usize, usize);

impl SsimParams {
    /// For images `[n,h,w,c]`.
    ///
    /// # Errors
    /// If they are smaller than a window.
    pub fn new([n, h, w, c]: [usize; 4]) -> Result<SsimParams, SizeError> {
        if h.min(w) < WINDOW { Err(SizeError(h, w)) } else { Ok(SsimParams { n, h, w, c }) }
    }

    /// Windows of all images and channels.
    pub fn windows(&self) -> usize {
        self.n * self.window_rows() * self.window_row()
    }

    /// Elements of a row of pixels.
    pub(super) fn row(&self) -> usize {
        self.w * self.c
    }

    /// Windows of a channel that are above each other.
    pub(super) fn window_rows(&self) -> usize {
        self.h - (WINDOW - 1)
    }

    /// Windows of all channels that begin in the same row of pixels.
    pub(super) fn window_row(&self) -> usize {
        (self.w - (WINDOW - 1)) * self.c
    }

    /// Asserts the lengths of images, or of their gradients.
    pub(super) fn check(&self, images: [Span; 2]) {
        for image in images {
            assert_eq!(image.len, self.n * self.h * self.row(), "images of {self:?}");
        }
    }
}
