//! Hints for arguments that are in PyTorch's layouts.

use crate::graph::Arguments;
use crate::{Error, Shape};

/// Where a convolution's weight has the channels that its input must have: its axis in our layout, and in PyTorch's.
#[derive(Clone, Copy)]
pub(super) struct WeightAxes {
    pub(super) ours: usize,
    pub(super) pytorch: usize,
    /// How often the input has them.
    pub(super) groups: usize,
}

/// Adds to the error of a convolution whether its image, its weight, or both look as if they were PyTorch's.
pub(super) fn hint_of_convolution(error: Error, arguments: &Arguments<'_>, axes: WeightAxes) -> Error {
    let (x, w) = (arguments.shape(0), arguments.shape(1));
    let (&[_, of_nchw, _, of_nhwc], w @ &[_, _, _, _]) = (x.dims(), w.dims()) else {
        return error;
    };
    let [ours, pytorch] = [axes.ours, axes.pytorch].map(|axis| w[axis].saturating_mul(axes.groups));
    let (image, weight) = match (ours == of_nhwc, pytorch == of_nhwc, ours == of_nchw, pytorch == of_nchw) {
        (true, ..) => return error,
        (_, true, ..) => (false, true),
        (_, _, true, _) => (true, false),
        (.., true) => (true, true),
        _ => return error,
    };
    let mut hint = String::new();
    if image {
        hint += "; x looks like PyTorch's [N, C, H, W]: permute it by [0, 2, 3, 1]";
    }
    if weight {
        hint += "; w looks like PyTorch's, whose filters come first: permute it by [2, 3, 1, 0]";
    }
    with_hint(error, &hint)
}

/// Adds to the error of an operation on the channels of `x` whether that looks like PyTorch's.
pub(super) fn hint_of_channels(error: Error, x: Shape, channels: Shape) -> Error {
    match (x.dims(), channels.dims()) {
        (&[_, of_nchw, _, _], &[expected]) if of_nchw == expected => {
            with_hint(error, "; x looks like PyTorch's [N, C, H, W]: permute it by [0, 2, 3, 1]")
        }
        _ => error,
    }
}

/// Adds a hint to what an error says was expected.
pub(super) fn with_hint(mut error: Error, hint: &str) -> Error {
    match &mut error {
        Error::Argument { expected: text, .. } | Error::Params { message: text, .. } => text.push_str(hint),
        _ => {}
    }
    error
}
