//! [`Tile`]: the tiles of Winograd's algorithm.

use super::params::Conv2dParams;
use std::ops::RangeInclusive;

/// Parts in one direction that Winograd's algorithm cuts a large kernel into, at most.
pub(super) const MAX_PARTS: usize = 3;

/// Taps in each direction that `F(4x4,4x4)` and `F(4x4,5x5)` are used for. Of fewer they would waste most frequencies;
/// more would be more than [`MAX_PARTS`]: all have 4 taps, but the last one up to 4 or 5.
const F4X4_TAPS: RangeInclusive<usize> = 4..=4 + 4 * (MAX_PARTS - 1);
const F4X5_TAPS: RangeInclusive<usize> = 4..=5 + 4 * (MAX_PARTS - 1);

/// How many outputs Winograd's algorithm computes at a time, and of how many taps: `F(outputs,taps)`.
///
/// The outputs of a tile are computed from all of its inputs, but for those at its edges. So an input that is infinite
/// or NaN reaches outputs whose window does not hold it: with `F4x3` 16, 20 or 25 in all, where a direct convolution
/// and `F2x3` have 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `F(2x2,3x3)`: 2.25 times fewer multiplications than direct, as accurate as direct.
    F2x3,
    /// `F(4x4,3x3)`: 4 times fewer multiplications. Rounding errors are some four times those of a direct convolution
    /// in the mean square; the largest of them is 3.4 to 14 times as large as the largest of a direct convolution.
    F4x3,
    /// `F(4x4,4x4)`, for kernels with 4 to 12 taps in each direction; those of more than 4 are cut into parts. 5.2
    /// times fewer multiplications for 4x4, 4 for 7x7, 5.2 for 8x8, 4.4 for 11x11. Rounding errors as of `F4x3`, and up
    /// to 1.5 times that.
    F4x4,
    /// `F(4x4,5x5)`, for kernels with 4 to 13 taps in each direction; those of more than 5 are cut into parts. 6.25
    /// times fewer multiplications for 5x5, 5 for 9x9. Rounding errors as of `F4x3`, and up to twice that.
    F4x5,
}

impl Tile {
    /// Outputs and taps in one direction.
    pub(super) const fn sizes(self) -> [usize; 2] {
        match self {
            Tile::F2x3 => [2, 3],
            Tile::F4x3 => [4, 3],
            Tile::F4x4 => [4, 4],
            Tile::F4x5 => [4, 5],
        }
    }

    /// Whether the tiles can compute a convolution of this shape: one of stride 1, without groups.
    pub fn supports(self, p: &Conv2dParams) -> bool {
        let fits = match self {
            Tile::F2x3 | Tile::F4x3 => p.r == 3 && p.s == 3,
            Tile::F4x4 => F4X4_TAPS.contains(&p.r) && F4X4_TAPS.contains(&p.s),
            Tile::F4x5 => F4X5_TAPS.contains(&p.r) && F4X5_TAPS.contains(&p.s),
        };
        fits && p.stride_h == 1 && p.stride_w == 1 && p.groups == 1
    }
}
