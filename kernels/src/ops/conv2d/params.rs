//! [`Conv2dParams`]: the shape of a convolution.

use crate::memory::Span;

/// Shape of a convolution from `[n,h,w,c]` to `[n,p,q,k]`. Made by [`Conv2dParams::new`] or
/// [`Conv2dParams::transposed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dParams {
    /// Images.
    pub n: usize,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Channels of the input.
    pub c: usize,
    /// Height of the output.
    pub p: usize,
    /// Width of the output.
    pub q: usize,
    /// Channels of the output.
    pub k: usize,
    /// Height of the kernel.
    pub r: usize,
    /// Width of the kernel.
    pub s: usize,
    /// Rows between neighbouring windows.
    pub stride_h: usize,
    /// Columns between neighbouring windows.
    pub stride_w: usize,
    /// Rows of zeros above and below the input.
    pub pad_h: usize,
    /// Columns of zeros left and right of the input.
    pub pad_w: usize,
    /// Groups that the channels are divided into.
    pub groups: usize,
}

/// Why a convolution has no valid shape. The message says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(String);

/// Whether a pass computes a convolution or its adjoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The forward pass: reads `x`, writes `y`.
    Forward,
    /// The input gradient, which is also the forward pass of a transposed convolution: reads `dy`, writes `dx`.
    Adjoint,
}

impl Conv2dParams {
    /// The convolution of an input `[n,h,w,c]` with `k` kernels of `kernel` = `[r,s]` taps.
    ///
    /// # Errors
    /// If a size is 0 or too large to count with, the groups do not divide the channels, or the kernel is larger than
    /// the padded input.
    pub fn new(
        [n, h, w, c]: [usize; 4],
        k: usize,
        [r, s]: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        groups: usize,
    ) -> Result<Conv2dParams, ShapeError> {
        check_sizes(c, k, [r, s], stride, groups)?;
        let out = |axis: &str, size: usize, taps: usize, stride: usize, pad: usize| {
            let padded = pad.checked_mul(2).and_then(|both| both.checked_add(size));
            let padded = padded.ok_or_else(|| ShapeError(format!("the padding's {axis} {pad} is too large")))?;
            if padded < taps {
                return Err(ShapeError(format!(
                    "the kernel's {axis} {taps} exceeds the padded input's {padded} ({size} + 2 * {pad})"
                )));
            }
            Ok((padded - taps) / stride + 1)
        };
        let p = out("height", h, r, stride[0], padding[0])?;
        let q = out("width", w, s, stride[1], padding[1])?;
        let [stride_h, stride_w] = stride;
        let [pad_h, pad_w] = padding;
        check_lens([("input", [n, h, w, c]), ("output", [n, p, q, k]), ("weight", [r, s, c / groups, k])])?;
        Ok(Conv2dParams { n, h, w, c, p, q, k, r, s, stride_h, stride_w, pad_h, pad_w, groups })
    }

    /// The convolution whose adjoint is the transposed convolution of an input `[n,p,q,k]` to `c` output channels. Its
    /// output is `h = (p - 1) stride - 2 padding + r + output_padding` high, and `w` wide likewise.
    ///
    /// # Errors
    /// As [`new`](Self::new); also if the output would be empty, or `output_padding` is not below the stride.
    pub fn transposed(
        [n, p, q, k]: [usize; 4],
        c: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        output_padding: [usize; 2],
        groups: usize,
    ) -> Result<Conv2dParams, ShapeError> {
        check_sizes(c, k, kernel, stride, groups)?;
        let size = |i: usize, axis: &str, len: usize| {
            if output_padding[i] >= stride[i] {
                return Err(ShapeError(format!(
                    "the output padding's {axis} {} must be below the stride {}",
                    output_padding[i], stride[i]
                )));
            }
            let windows = len.saturating_sub(1).checked_mul(stride[i]).and_then(|len| len.checked_add(kernel[i]));
            let full = windows.and_then(|len| len.checked_add(output_padding[i]));
            let full = full.ok_or_else(|| ShapeError(format!("the stride's {axis} {} is too large", stride[i])))?;
            let cut = padding[i].saturating_mul(2);
            if len == 0 || full <= cut {
                return Err(ShapeError(format!(
                    "the output has no {axis}: (input {len} - 1) * stride {} + kernel {} + output padding {} - 2 * padding {}",
                    stride[i], kernel[i], output_padding[i], padding[i]
                )));
            }
            Ok(full - cut)
        };
        let (h, w) = (size(0, "height", p)?, size(1, "width", q)?);
        let params = Conv2dParams::new([n, h, w, c], k, kernel, stride, padding, groups)?;
        assert_eq!((params.p, params.q), (p, q), "the adjoint has the input's size");
        Ok(params)
    }

    /// Elements of the input `x[n,h,w,c]`.
    pub fn input_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Elements of the output `y[n,p,q,k]`.
    pub fn output_len(&self) -> usize {
        self.n * self.p * self.q * self.k
    }

    /// Elements of the weight `w[r,s,c/groups,k]`.
    pub fn weight_len(&self) -> usize {
        self.r * self.s * (self.c / self.groups) * self.k
    }

    /// Floating-point operations of one pass (forward, input or weight gradient) of a direct convolution: two for every
    /// multiplication and addition, those with padding included.
    pub fn flops(&self) -> usize {
        let products = self.output_len().saturating_mul(self.r * self.s * (self.c / self.groups));
        products.saturating_mul(2)
    }

    /// The same convolution as one of single pixels in one row, if its windows are pixels, or are whole images. Then
    /// outputs fill register blocks, whatever the image's size. A linear layer is such a convolution, of images of one
    /// pixel.
    pub(super) fn flattened(&self) -> Conv2dParams {
        let unpadded = [self.pad_h, self.pad_w] == [0; 2];
        if unpadded && [self.r, self.s, self.stride_h, self.stride_w] == [1; 4] {
            let pixels = self.n * self.h * self.w;
            Conv2dParams { n: 1, h: 1, w: pixels, p: 1, q: pixels, ..*self }
        } else if unpadded && [self.r, self.s] == [self.h, self.w] && self.groups == 1 {
            let c = self.h * self.w * self.c;
            let (n, [h, r, s, stride_h, stride_w]) = (self.n, [1; 5]);
            Conv2dParams { n: 1, h, w: n, c, p: 1, q: n, r, s, stride_h, stride_w, ..*self }
        } else {
            *self
        }
    }

    /// `[height, width, channels]` of the images that are read in a direction, and of those that are written.
    pub(super) fn images(&self, direction: Direction) -> [[usize; 3]; 2] {
        let (x, y) = ([self.h, self.w, self.c], [self.p, self.q, self.k]);
        match direction {
            Direction::Forward => [x, y],
            Direction::Adjoint => [y, x],
        }
    }

    /// Asserts the lengths of an input, a weight and an output, or of their gradients.
    pub(super) fn check(&self, x: Span, w: Span, y: Span) {
        assert_eq!(x.len, self.input_len(), "input of {self:?}");
        assert_eq!(w.len, self.weight_len(), "weight of {self:?}");
        assert_eq!(y.len, self.output_len(), "output of {self:?}");
    }
}

/// An error if an operand has more elements than can be addressed, as f64.
fn check_lens(operands: [(&str, [usize; 4]); 3]) -> Result<(), ShapeError> {
    const LARGEST: usize = isize::MAX as usize / size_of::<f64>();
    for (name, sizes) in operands {
        let len = sizes.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        if len.is_none_or(|len| len > LARGEST) {
            return Err(ShapeError(format!("the {name} {sizes:?} has too many elements")));
        }
    }
    Ok(())
}

fn check_sizes(c: usize, k: usize, kernel: [usize; 2], stride: [usize; 2], groups: usize) -> Result<(), ShapeError> {
    for (name, value) in [
        ("input channels", c),
        ("output channels", k),
        ("kernel height", kernel[0]),
        ("kernel width", kernel[1]),
        ("vertical stride", stride[0]),
        ("horizontal stride", stride[1]),
        ("groups", groups),
    ] {
        if value == 0 {
            return Err(ShapeError(format!("{name} must be at least 1, not 0")));
        }
    }
    if !c.is_multiple_of(groups) || !k.is_multiple_of(groups) {
        return Err(ShapeError(format!("{groups} groups must divide the channels, {c} and {k}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Conv2dParams;

    const MAX: usize = usize::MAX;

    /// Sizes that wrap around, were they added or multiplied without a check.
    #[test]
    fn sizes_that_cannot_be_counted_are_errors_that_name_the_argument() {
        let refused = |result: Result<Conv2dParams, super::ShapeError>| result.unwrap_err().to_string();
        let new = |x, k, kernel, stride, padding| refused(Conv2dParams::new(x, k, kernel, stride, padding, 1));
        let one = [1, 1];
        for padding in [MAX, MAX / 2, MAX / 2 + 1] {
            assert!(new([1, 5, 5, 2], 3, [3, 3], one, [padding, 1]).starts_with("the padding's height"));
            assert!(new([1, 5, 5, 2], 3, [3, 3], one, [1, padding]).starts_with("the padding's width"));
        }
        // As large as can be counted, but not addressed.
        assert!(new([1, 5, 5, 2], 3, [3, 3], one, [MAX / 4, 1]).starts_with("the output ["));
        assert!(new([MAX, 5, 5, 2], 3, [3, 3], one, one).starts_with("the input [18446744073709551615, 5, 5, 2] has"));
        assert!(new([1, 5, 5, MAX / 4], 1, [3, 3], one, one).starts_with("the input ["));
        assert!(new([1, 5, 5, 2], MAX / 2, [3, 3], one, one).starts_with("the output ["));
        assert!(new([1, 5, 5, 1 << 30], 1 << 31, one, one, [0, 0]).starts_with("the weight ["));

        let transposed = |stride, padding, output_padding| {
            refused(Conv2dParams::transposed([1, 5, 5, 2], 3, [3, 3], stride, padding, output_padding, 1))
        };
        assert!(transposed([MAX, 1], [0, 0], [0, 0]).starts_with("the stride's height"));
        assert!(transposed([1, MAX], [0, 0], [0, MAX - 1]).starts_with("the stride's width"));
        assert!(transposed(one, [MAX, 0], [0, 0]).starts_with("the output has no height"));
        assert!(transposed([1 << 62, 1], [0, 0], [0, 0]).starts_with("the stride's height"));
        assert!(transposed([1 << 58, 1], [0, 0], [0, 0]).starts_with("the input ["));
    }
}
