//! Which algorithm is chosen.

use super::cases::conv;
use super::{Algo, Conv2dParams, Tile};
use crate::ops::conv2d::PassKind;
use crate::ops::conv2d::cost::Rates;

const DIRECT: Algo = Algo::Direct;

/// For the forward pass, the input gradient and the weight gradient.
fn choices(rates: &Rates, p: &Conv2dParams) -> [Algo; 3] {
    PassKind::ALL.map(|kind| Algo::choose_by(rates, p, kind))
}

/// Trained weights depend on the algorithm: another choice changes their bits, and needs a measurement.
#[test]
fn the_shapes_of_the_study_keep_their_algorithms() {
    for (batch, size, kernel) in [8, 32, 64, 256]
        .into_iter()
        .flat_map(|batch| [28, 32, 64].map(|size| (batch, size)))
        .flat_map(|(batch, size)| [3, 5, 7, 9].map(|kernel| (batch, size, kernel)))
    {
        let shape =
            |c, k, stride, groups| conv([batch, size, size, c], k, [kernel; 2], [stride; 2], [kernel / 2; 2], groups);
        let winograd = Algo::Winograd(match kernel {
            3 => Tile::F4x3,
            7 => Tile::F4x4,
            _ => Tile::F4x5,
        });
        for channels in [16, 24, 32, 48, 64, 96, 128] {
            for rates in [Rates::NARROW, Rates::WIDE] {
                for (c, k) in [(1, channels), (channels, 1)] {
                    assert_eq!(choices(&rates, &shape(c, k, 1, 1)), [DIRECT; 3], "{:?}", shape(c, k, 1, 1));
                }
                for (c, k) in [(channels, channels), (channels, 32), (64, channels)] {
                    assert_eq!(choices(&rates, &shape(c, k, 1, 1)), [winograd; 3], "{:?}", shape(c, k, 1, 1));
                    assert_eq!(choices(&rates, &shape(c, k, 2, 1)), [DIRECT; 3], "{:?}", shape(c, k, 2, 1));
                    assert_eq!(choices(&rates, &shape(c, k, 1, 4)), [DIRECT; 3], "{:?}", shape(c, k, 1, 4));
                }
            }
        }
    }
}

/// At the edges of what is chosen: few outputs and large weights.
#[test]
fn the_algorithm_that_was_measured_to_be_the_fastest_is_chosen() {
    let [f2x3, f4x3, f4x4, f4x5] = [Tile::F2x3, Tile::F4x3, Tile::F4x4, Tile::F4x5].map(Algo::Winograd);
    let unpadded =
        |n, size: usize, channels, kernel| conv([n, size, size, channels], channels, [kernel; 2], [1, 1], [0, 0], 1);
    let same = |n, size: usize, channels, kernel: usize| {
        conv([n, size, size, channels], channels, [kernel; 2], [1, 1], [kernel / 2; 2], 1)
    };
    let cases = [
        // Flattening and a linear layer.
        (unpadded(64, 7, 32, 7), [DIRECT; 3]),
        (unpadded(64, 7, 128, 7), [DIRECT; 3]),
        (unpadded(1, 9, 64, 9), [DIRECT; 3]),
        (unpadded(64, 3, 64, 3), [DIRECT; 3]),
        // Padding around an image smaller than the kernel.
        (same(8, 2, 32, 7), [DIRECT; 3]),
        (same(64, 1, 128, 7), [DIRECT; 3]),
        (same(8, 1, 128, 9), [DIRECT; 3]),
        // One tile and more.
        (unpadded(64, 7, 128, 5), [f4x5; 3]),
        (unpadded(64, 3, 128, 3), [DIRECT; 3]),
        (same(64, 14, 32, 3), [f4x3; 3]),
        (same(64, 14, 32, 5), [f4x5; 3]),
        // Taps that the parts of one of both tiles fit.
        (unpadded(64, 31, 32, 4), [f4x4; 3]),
        (same(64, 28, 32, 7), [f4x4; 3]),
        (same(64, 28, 32, 9), [f4x5; 3]),
        (same(64, 28, 32, 11), [f4x4; 3]),
        (same(64, 28, 32, 13), [f4x5; 3]),
        // Large weights.
        (conv([1, 14, 14, 512], 512, [3, 3], [1, 1], [1, 1], 1), [f2x3, DIRECT, DIRECT]),
        (conv([1, 28, 28, 512], 512, [3, 3], [1, 1], [1, 1], 1), [f4x3; 3]),
        // Depthwise.
        (conv([64, 28, 28, 32], 32, [3, 3], [1, 1], [1, 1], 32), [DIRECT; 3]),
    ];
    for (p, want) in cases {
        assert_eq!(choices(&Rates::NARROW, &p), want, "{p:?}");
    }
    // With fast products, fewer weights count for more.
    let wide = [
        (unpadded(64, 7, 128, 7), [DIRECT; 3]),
        (same(64, 14, 32, 3), [f4x3; 3]),
        (conv([8, 7, 7, 512], 512, [3, 3], [1, 1], [1, 1], 1), [f2x3, DIRECT, f4x3]),
        (conv([1, 28, 28, 512], 512, [3, 3], [1, 1], [1, 1], 1), [f2x3, f2x3, f4x3]),
        (conv([64, 28, 28, 32], 32, [3, 3], [1, 1], [1, 1], 32), [DIRECT; 3]),
    ];
    for (p, want) in wide {
        assert_eq!(choices(&Rates::WIDE, &p), want, "{p:?}");
    }
}
