//! Shapes of pooling.

use crate::memory::Span;
use std::ops::Range;

/// What a window is summarised by. Kernels on a GPU know it by its number, which `pool2d.cu` has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// Its largest value.
    Max,
    /// Its sum over the number of its pixels, padding included.
    Average,
    /// Its sum over the number of its pixels inside the image.
    AverageInside,
}

/// Shapes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolParams {
    /// What a window is summarised by.
    pub pooling: Pooling,
    /// Images.
    pub n: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Channels.
    pub c: usize,
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows above and below, columns left and right of the image.
    pub padding: [usize; 2],
}

/// Shapes that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(String);

impl PoolParams {
    /// For an input `[n,h,w,c]`.
    ///
    /// # Errors
    /// If the window or its stride is empty, the padding is more than half of the window (some window would lie outside
    /// the image), or the window is larger than the padded image.
    pub fn new(
        pooling: Pooling,
        [n, h, w, c]: [usize; 4],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Result<PoolParams, ShapeError> {
        if kernel[0].checked_mul(kernel[1]).is_none() {
            return Err(ShapeError(format!("a window of {} x {} has too many pixels", kernel[0], kernel[1])));
        }
        let input = [h, w];
        let mut output = [0; 2];
        for (axis, [vertical, size]) in [["vertical", "height"], ["horizontal", "width"]].into_iter().enumerate() {
            let [input, kernel, stride, padding] = [input, kernel, stride, padding].map(|both| both[axis]);
            let wrong = |message: String| Err(ShapeError(message));
            if kernel == 0 || stride == 0 {
                return wrong(format!(
                    "the window's {size} and the {vertical} stride must be at least 1, not {kernel} and {stride}"
                ));
            }
            if padding > kernel / 2 {
                return wrong(format!(
                    "the {vertical} padding {padding} must be at most half the window's {size} {kernel}"
                ));
            }
            let padded = input.saturating_add(padding.saturating_mul(2));
            if kernel > padded {
                return wrong(format!(
                    "the window's {size} {kernel} exceeds the padded input's {padded} ({input} + 2 * {padding})"
                ));
            }
            output[axis] = (padded - kernel) / stride + 1;
        }
        Ok(PoolParams { pooling, n, input, output, c, kernel, stride, padding })
    }

    /// The rows (axis 0) or columns (axis 1) of the image that the window of output row or column `i` covers. Never
    /// empty.
    #[inline(always)]
    pub(super) fn window(&self, axis: usize, i: usize) -> Range<usize> {
        let begin = i * self.stride[axis];
        let end = begin + self.kernel[axis] - self.padding[axis];
        begin.saturating_sub(self.padding[axis])..end.min(self.input[axis])
    }

    /// What the sum over a window of so many pixels inside the image is divided by.
    #[inline(always)]
    pub(super) fn divisor(&self, inside: usize) -> usize {
        match self.pooling {
            Pooling::Max => 1,
            Pooling::Average => self.kernel[0] * self.kernel[1],
            Pooling::AverageInside => inside,
        }
    }

    /// Terms of the longest sum in the output.
    pub(super) fn longest_forward_sum(&self) -> usize {
        let inside = |axis: usize| self.kernel[axis].min(self.input[axis]);
        if self.pooling == Pooling::Max { 1 } else { inside(0) * inside(1) }
    }

    /// Windows that one pixel is in, at most.
    pub(super) fn longest_backward_sum(&self) -> usize {
        let windows = |axis: usize| self.kernel[axis].div_ceil(self.stride[axis]).min(self.output[axis]);
        windows(0) * windows(1)
    }

    /// Whether each pixel of the input is in exactly one window.
    pub(super) fn is_tiling(&self) -> bool {
        (0..2).all(|axis| {
            let covered = self.window(axis, self.output[axis] - 1).end;
            covered == self.input[axis] && (self.stride[axis] == self.kernel[axis] || self.output[axis] == 1)
        })
    }

    /// Elements of an image of the input.
    pub(super) fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.c
    }

    /// Elements of an image of the output.
    pub(super) fn output_len(&self) -> usize {
        self.output[0] * self.output[1] * self.c
    }

    /// Asserts the lengths of an input and an output, or of their gradients.
    pub(super) fn check(&self, x: Span, y: Span) {
        assert_eq!(x.len, self.n * self.input_len(), "input of {self:?}");
        assert_eq!(y.len, self.n * self.output_len(), "output of {self:?}");
    }
}
