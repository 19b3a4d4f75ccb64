//! Shapes that are tested.

use crate::ops::conv2d::Conv2dParams;
use crate::testing::is_tested;
use proptest::prelude::*;

/// A convolution of an input `[n,h,w,c]`.
pub(super) fn conv(
    x: [usize; 4],
    k: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    groups: usize,
) -> Conv2dParams {
    Conv2dParams::new(x, k, kernel, stride, padding, groups).unwrap()
}

/// Shapes that a path could get wrong: 1, primes, one more and less than a vector and than a register block, and real
/// layers.
pub(super) fn cases() -> Vec<Conv2dParams> {
    let mut cases = vec![
        // The layers of the network.
        conv([2, 32, 32, 1], 32, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 32, 32, 32], 32, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 32, 32, 32], 1, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 28, 28, 16], 24, [5, 5], [1, 1], [2, 2], 1),
        conv([2, 15, 15, 32], 32, [3, 3], [2, 2], [1, 1], 1),
        conv([1, 13, 13, 8], 8, [7, 7], [1, 1], [0, 0], 1),
        conv([1, 9, 11, 4], 4, [9, 9], [1, 1], [4, 4], 1),
        // Everything one.
        conv([1, 1, 1, 1], 1, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 1, 1, 1], 1, [3, 3], [1, 1], [1, 1], 1),
        // One output pixel.
        conv([3, 5, 7, 3], 10, [5, 7], [1, 1], [0, 0], 1),
        // Primes and shapes that are not square.
        conv([3, 7, 13, 5], 11, [3, 5], [1, 1], [1, 2], 1),
        conv([1, 5, 37, 7], 3, [1, 3], [1, 2], [0, 1], 1),
        conv([1, 31, 3, 2], 17, [5, 1], [3, 1], [2, 0], 1),
        // Even kernels.
        conv([2, 8, 9, 6], 5, [2, 2], [1, 1], [0, 0], 1),
        conv([2, 8, 9, 6], 5, [4, 2], [1, 1], [2, 1], 1),
        conv([2, 8, 8, 6], 5, [2, 4], [2, 2], [1, 1], 1),
        // Strides, also larger than the kernel: input pixels without a gradient.
        conv([2, 11, 10, 9], 8, [3, 3], [3, 3], [1, 1], 1),
        conv([2, 11, 10, 3], 8, [2, 1], [3, 4], [0, 0], 1),
        conv([1, 17, 16, 3], 33, [5, 3], [2, 3], [3, 1], 1),
        conv([1, 3, 3, 2], 3, [1, 1], [3, 3], [0, 0], 1),
        // Padding as large as the kernel and larger.
        conv([1, 4, 5, 3], 9, [3, 3], [1, 1], [3, 3], 1),
        conv([1, 3, 2, 5], 4, [2, 3], [2, 1], [5, 4], 1),
        // 1x1.
        conv([2, 6, 5, 33], 31, [1, 1], [1, 1], [0, 0], 1),
        conv([5, 1, 1, 19], 7, [1, 1], [1, 1], [0, 0], 1),
        conv([2, 7, 5, 16], 16, [1, 1], [2, 2], [0, 0], 1),
        // More tasks of the weight gradient than tap rows and panels of outputs: they share rows of the weight. Linear
        // layers, of which one flattens an image, and few outputs.
        conv([1200, 1, 1, 300], 8, [1, 1], [1, 1], [0, 0], 1),
        conv([400, 5, 5, 30], 16, [5, 5], [1, 1], [0, 0], 1),
        conv([512, 4, 4, 50], 9, [3, 3], [1, 1], [0, 0], 1),
        // Groups, down to one channel each.
        conv([2, 6, 7, 8], 12, [3, 3], [1, 1], [1, 1], 4),
        conv([1, 9, 8, 6], 6, [3, 3], [2, 2], [1, 1], 6),
        conv([2, 5, 5, 34], 68, [3, 3], [1, 1], [1, 1], 2),
        conv([1, 4, 5, 4], 16, [3, 3], [1, 1], [1, 1], 2),
        // Wide: more columns than any block has.
        conv([1, 3, 700, 2], 3, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 2, 131, 64], 3, [1, 3], [1, 1], [0, 1], 1),
        // Small ones for the GPU's kernels of 64 channels, to and from one channel, and of several blocks.
        conv([1, 2, 3, 4], 68, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 2, 3, 68], 4, [1, 1], [1, 1], [0, 0], 1),
        conv([1, 5, 6, 64], 72, [1, 3], [1, 1], [0, 1], 1),
        conv([2, 5, 6, 8], 1, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 5, 7, 1], 20, [3, 2], [2, 1], [1, 0], 1),
        conv([1, 11, 12, 4], 4, [2, 2], [2, 2], [0, 0], 1),
        conv([1, 12, 13, 1], 3, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 16, 17, 1], 1, [1, 1], [1, 1], [0, 0], 1),
        // For the GPU's kernels that keep what a tile reads: a small one, two images, several tiles with more channels
        // than are kept or computed at once, no padding, groups with much padding, too small.
        conv([1, 7, 15, 4], 4, [3, 3], [1, 1], [1, 1], 1),
        conv([2, 8, 15, 4], 8, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 15, 31, 36], 4, [3, 3], [1, 1], [1, 1], 1),
        conv([1, 15, 34, 8], 36, [3, 3], [1, 1], [1, 0], 1),
        conv([1, 14, 12, 40], 16, [3, 3], [1, 1], [2, 3], 2),
        conv([2, 7, 7, 8], 8, [3, 3], [1, 1], [1, 1], 1),
        // More tiles than its weight gradient has splits.
        conv([260, 8, 8, 4], 4, [3, 3], [1, 1], [1, 1], 1),
        // As many taps as the windows of the GPU's kernels have bits for, and one more.
        conv([1, 17, 9, 8], 4, [15, 3], [1, 1], [7, 1], 1),
        conv([1, 9, 17, 4], 8, [3, 15], [2, 1], [1, 14], 1),
        conv([1, 17, 9, 4], 8, [16, 2], [1, 1], [8, 1], 1),
        conv([1, 9, 17, 8], 4, [2, 16], [1, 1], [1, 3], 1),
        // Transposed, with output padding.
        Conv2dParams::transposed([2, 4, 5, 8], 6, [3, 3], [2, 2], [1, 1], [1, 1], 1).unwrap(),
        Conv2dParams::transposed([1, 5, 4, 32], 1, [3, 4], [3, 2], [0, 1], [2, 0], 1).unwrap(),
        Conv2dParams::transposed([1, 3, 3, 4], 8, [2, 2], [3, 3], [0, 0], [2, 1], 2).unwrap(),
    ];
    // Channels around the lanes of a vector, pixels around a register block.
    for (i, channels) in [2, 7, 8, 9, 15, 16, 17, 31, 33].into_iter().enumerate() {
        let width = [5, 6, 7, 11, 12, 13, 14, 15, 29][i];
        cases.push(conv([1, 3, width, channels], 9, [3, 3], [1, 1], [1, 1], 1));
        cases.push(conv([1, 3, width, 9], channels, [3, 3], [1, 1], [1, 1], 1));
    }
    cases.retain(|p| is_tested(p.input_len() + p.weight_len() + p.output_len()));
    cases
}

/// Shapes of convolutions and of transposed convolutions.
pub(super) fn any_shape() -> impl Strategy<Value = Conv2dParams> {
    let sizes = (1..=3usize, 1..=14usize, 1..=18usize, 1..=20usize, 1..=20usize);
    let window = (1..=5usize, 1..=5usize, 1..=3usize, 1..=3usize, 0..=4usize, 0..=4usize);
    (sizes, window, 1..=3usize, any::<bool>(), 0..=2usize, 0..=2usize).prop_filter_map(
        "the output is empty",
        |((n, h, w, c, k), (r, s, u, v, a, b), groups, transposed, oa, ob)| {
            let (c, k) = (c * groups, k * groups);
            if transposed {
                Conv2dParams::transposed([n, h, w, k], c, [r, s], [u, v], [a, b], [oa % u, ob % v], groups).ok()
            } else {
                Conv2dParams::new([n, h, w, c], k, [r, s], [u, v], [a, b], groups).ok()
            }
        },
    )
}

/// Shapes that Winograd's algorithm takes: 3x3 kernels, and larger ones in one to three parts a side.
pub(super) fn any_winograd_shape() -> impl Strategy<Value = Conv2dParams> {
    let kernel = prop_oneof![Just([3, 3]), (4..=13usize, 4..=13usize).prop_map(|(r, s)| [r, s])];
    (1..=3usize, 1..=14usize, 1..=40usize, 1..=36usize, 1..=36usize, 0..=6usize, 0..=6usize, kernel)
        .prop_filter_map("the output is empty", |(n, h, w, c, k, a, b, kernel)| {
            Conv2dParams::new([n, h, w, c], k, kernel, [1, 1], [a, b], 1).ok()
        })
}
