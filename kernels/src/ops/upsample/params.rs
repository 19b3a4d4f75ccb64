//! Shapes of an upsampling, and where its pixels come from.

use crate::memory::Span;

/// How values between pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upsampling {
    /// The pixel that the place is in.
    Nearest,
    /// A mean of the two pixels around it in each direction, weighted by their distances.
    Bilinear,
}

/// Shapes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpsampleParams {
    /// How values between pixels are found.
    pub upsampling: Upsampling,
    /// Images.
    pub n: usize,
    /// Height and width of the input.
    pub input: [usize; 2],
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Channels.
    pub c: usize,
}

/// A size that an image cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SizeError(String);

/// Where an output pixel comes from, in one direction: `1 - weight` of the pixel `index`, `weight` of the next one,
/// which after the last one is the last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) index: usize,
    weight: f64,
}

impl UpsampleParams {
    /// For an input `[n,h,w,c]`, and height and width of the output.
    ///
    /// # Errors
    /// If a height or width is 0, or so large that places between pixels cannot be counted.
    pub fn new(
        upsampling: Upsampling,
        [n, h, w, c]: [usize; 4],
        output: [usize; 2],
    ) -> Result<UpsampleParams, SizeError> {
        let input = [h, w];
        for (axis, size) in ["height", "width"].into_iter().enumerate() {
            let (from, to) = (input[axis], output[axis]);
            if from == 0 || to == 0 {
                return Err(SizeError(format!("the {size} must be at least 1, not {from} and {to}")));
            }
            // Of numerators and denominators of places.
            if from.checked_mul(to).and_then(|places| places.checked_mul(2)).is_none() {
                return Err(SizeError(format!("the {size} cannot go from {from} to {to}: one of them is too large")));
            }
        }
        Ok(UpsampleParams { upsampling, n, input, output, c })
    }

    /// Where row (axis 0) or column (axis 1) `i` of the output comes from. The index is exact.
    pub(super) fn source(&self, axis: usize, i: usize) -> Source {
        let (input, output) = (self.input[axis], self.output[axis]);
        match self.upsampling {
            Upsampling::Nearest => Source { index: i * input / output, weight: 0.0 },
            Upsampling::Bilinear => {
                // Times 2 output, (i + 1/2) input / output - 1/2 is a whole number.
                let (place, pixel) = (((2 * i + 1) * input).saturating_sub(output), 2 * output);
                Source { index: place / pixel, weight: (place % pixel) as f64 / pixel as f64 }
            }
        }
    }

    /// Whether the pixel after that of a source counts, too: 1 or 0.
    pub(super) fn reach(&self) -> usize {
        match self.upsampling {
            Upsampling::Nearest => 0,
            Upsampling::Bilinear => 1,
        }
    }

    /// Weight of row or column `k` of the input in what comes from `source`.
    pub(super) fn weight(&self, axis: usize, source: Source, k: usize) -> f64 {
        let next = (source.index + 1).min(self.input[axis] - 1);
        let own = if source.index == k { 1.0 - source.weight } else { 0.0 };
        if next == k { own + source.weight } else { own }
    }

    /// Output pixels that one pixel of the input is in, at most.
    pub(super) fn longest_sum(&self) -> usize {
        let along = |axis: usize| {
            let of_pixel = self.output[axis].div_ceil(self.input[axis]);
            match self.upsampling {
                Upsampling::Nearest => of_pixel,
                Upsampling::Bilinear => (2 * of_pixel).min(self.output[axis]),
            }
        };
        along(0) * along(1)
    }

    /// Elements of a row of the input.
    pub(super) fn input_row(&self) -> usize {
        self.input[1] * self.c
    }

    /// Elements of a row of the output.
    pub(super) fn output_row(&self) -> usize {
        self.output[1] * self.c
    }

    /// Asserts the lengths of an input and an output, or of their gradients.
    pub(super) fn check(&self, x: Span, y: Span) {
        assert_eq!(x.len, self.n * self.input[0] * self.input_row(), "input of {self:?}");
        assert_eq!(y.len, self.n * self.output[0] * self.output_row(), "output of {self:?}");
    }
}
