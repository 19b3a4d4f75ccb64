//! 2-D convolution (cross-correlation, as every deep-learning framework defines it) and its adjoint, the transposed convolution.
//!
//! With stride `(u, v)`, padding `(a, b)` and one group:
//!
//! ```text
//! forward      y[n,p,q,k]  = bias[k] + sum_{r,s,c} x[n, p u + r - a, q v + s - b, c] w[r,s,c,k]       (0 outside x)
//! grad_input   dx[n,h,w,c] = bias[c] + sum_{r,s,k} dy[n,p,q,k] w[r,s,c,k]   over all p, q with p u + r - a = h, q v + s - b = w
//! grad_weight  dw[r,s,c,k] = sum_{n,p,q} x[n, p u + r - a, q v + s - b, c] dy[n,p,q,k]
//! grad_bias    db[k]       = sum_{n,p,q} dy[n,p,q,k]
//! ```
//!
//! With `groups` G, input channel `c` and output channel `k` are connected only if `c / (C/G) == k / (K/G)`; the weight is then
//! `w[R,S,C/G,K]`, its third index counting inside the group.
//!
//! **A transposed convolution is the adjoint of a convolution**, so it has no kernels of its own. A transposed convolution
//! from `[N,P,Q,K]` to `[N,H,W,C]` is described by the [`Conv2dParams`] of the convolution from `[N,H,W,C]` to `[N,P,Q,K]`
//! and has that convolution's weight `w[R,S,C,K]` (in its own terms `[kh][kw][cout][cin]`):
//!
//! | transposed convolution | is the convolution's |
//! | --- | --- |
//! | forward | `grad_input`, with a bias over C |
//! | gradient of its input | `forward`, without bias |
//! | gradient of its weight | `grad_weight`, with its input in the place of `dy` and its output's gradient in that of `x` |
//!
//! Aliasing: outputs are disjoint from all operands. Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep
//! learning", 2016; PyTorch's `Conv2d` and `ConvTranspose2d` define the shapes.

pub mod cpu;
pub mod reference;

use crate::{Span, Write};

/// Shape of a convolution from `[n,h,w,c]` to `[n,p,q,k]`. Made by [`Conv2dParams::new`] or [`Conv2dParams::transposed`].
#[repr(C)]
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

impl Conv2dParams {
    /// The convolution of an input `[n,h,w,c]` with `k` kernels of `kernel` = `[r,s]` taps.
    ///
    /// # Errors
    /// If a size is 0, the groups do not divide the channels, or the kernel is larger than the padded input.
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
            let padded = size + 2 * pad;
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
        Ok(Conv2dParams { n, h, w, c, p, q, k, r, s, stride_h, stride_w, pad_h, pad_w, groups })
    }

    /// The convolution whose adjoint is the transposed convolution of an input `[n,p,q,k]` to `c` output channels. Its output
    /// is `h = (p - 1) stride - 2 padding + r + output_padding` high, and `w` wide likewise.
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
            let full = len.saturating_sub(1) * stride[i] + kernel[i] + output_padding[i];
            if len == 0 || full <= 2 * padding[i] {
                return Err(ShapeError(format!(
                    "the output has no {axis}: (input {len} - 1) * stride {} + kernel {} + output padding {} - 2 * padding {}",
                    stride[i], kernel[i], output_padding[i], padding[i]
                )));
            }
            Ok(full - 2 * padding[i])
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
        2 * self.output_len() * self.r * self.s * (self.c / self.groups)
    }
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

/// A map of an operand as a pass reads it: `scale[c] a + shift[c]` in channel `c`, or `a` itself if both are empty. So a batch
/// normalization before a convolution needs no pass of its own. Padding is not mapped: its zeros are zeros of the mapped operand.
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
}

/// The values of an operand, and its [`Affine`] map: two slices as long as it has channels, or empty.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a, T> {
    /// The operand before it is mapped.
    pub values: &'a [T],
    /// Factor of each channel.
    pub scale: &'a [T],
    /// What is added, after that.
    pub shift: &'a [T],
}

impl<'a, T> From<&'a [T]> for Mapped<'a, T> {
    fn from(values: &'a [T]) -> Mapped<'a, T> {
        Mapped { values, scale: &[], shift: &[] }
    }
}

impl<T> Mapped<'_, T> {
    /// Whether the values are those of the operand.
    pub fn is_plain(&self) -> bool {
        self.scale.is_empty()
    }

    /// Asserts that the map is one of `channels`.
    pub(crate) fn check(&self, channels: usize) {
        assert_eq!(self.scale.len(), self.shift.len(), "a map has a scale and a shift");
        assert!(self.is_plain() || self.scale.len() == channels, "map of {} for {channels} channels", self.scale.len());
    }
}

/// Operands of [`Backend::conv2d_forward`](crate::Backend::conv2d_forward).
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// How `x` is read, `[c]`.
    pub x_map: Affine,
    /// Weight `[r,s,c/groups,k]`.
    pub w: Span,
    /// Bias `[k]`, or empty.
    pub bias: Span,
    /// Output `[n,p,q,k]`, set or added to.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::conv2d_grad_input`](crate::Backend::conv2d_grad_input).
#[derive(Clone, Copy, Debug)]
pub struct GradInput {
    /// Gradient of the output `[n,p,q,k]`.
    pub dy: Span,
    /// How `dy` is read, `[k]`: it is the input of a transposed convolution.
    pub dy_map: Affine,
    /// Weight `[r,s,c/groups,k]`.
    pub w: Span,
    /// Bias `[c]` of a transposed convolution, or empty.
    pub bias: Span,
    /// Gradient of the input `[n,h,w,c]`, set or added to.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::conv2d_grad_weight`](crate::Backend::conv2d_grad_weight).
#[derive(Clone, Copy, Debug)]
pub struct GradWeight {
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// How `x` is read, `[c]`.
    pub x_map: Affine,
    /// Gradient of the output `[n,p,q,k]`.
    pub dy: Span,
    /// How `dy` is read, `[k]`: it is the input of a transposed convolution. At most one of the two is mapped.
    pub dy_map: Affine,
    /// Gradient of the weight `[r,s,c/groups,k]`, set or added to.
    pub dw: Span,
    /// Whether `dw` is set or added to.
    pub write: Write,
    /// Scratch.
    pub workspace: Span,
}

/// Operands of [`Backend::conv2d_grad_bias`](crate::Backend::conv2d_grad_bias).
#[derive(Clone, Copy, Debug)]
pub struct GradBias {
    /// Gradient of the output, `rows` of `channels` values.
    pub dy: Span,
    /// Gradient of the bias `[channels]`, set or added to.
    pub db: Span,
    /// Whether `db` is set or added to.
    pub write: Write,
    /// Scratch.
    pub workspace: Span,
}

impl Conv2dParams {
    /// Asserts the lengths of an input, a weight and an output, or of their gradients.
    pub(crate) fn check<T>(&self, x: &[T], w: &[T], y: &[T]) {
        assert_eq!(x.len(), self.input_len(), "input of {self:?}");
        assert_eq!(w.len(), self.weight_len(), "weight of {self:?}");
        assert_eq!(y.len(), self.output_len(), "output of {self:?}");
    }
}
