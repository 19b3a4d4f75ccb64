//! [`Algo`]: which algorithm computes a pass on the CPU.

use super::cost::{self, Rates};
use super::params::{Conv2dParams, Direction};
use super::tile::Tile;
use crate::host::Cpu;
use crate::simd::Isa;
use std::fmt;
use std::str::FromStr;

/// An algorithm for the passes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algo {
    /// Gathers the windows of a block of pixels into rows of a matrix, and multiplies it with the weight by
    /// `matrixmultiply::sgemm`. Right for every shape; the baseline that the others must beat. `sgemm` allocates its
    /// packing buffer in every call, and detects the CPU's instruction set by itself.
    Im2col,
    /// Kernels of our own, which keep sums in registers; for every shape, and other ones for depthwise convolutions.
    /// Allocates nothing.
    Direct,
    /// Winograd's algorithm with one of its tiles, for the shapes that [`Tile::supports`]. Allocates nothing. Its
    /// rounding errors are larger, and an input that is not finite reaches more outputs: [`Tile`] says how much.
    Winograd(Tile),
}

/// Makes [`Algo::ALL`] and [`Algo::name`] of one list: an algorithm that is missing from it does not compile.
macro_rules! algorithms {
    ($($algo:ident $(($tile:ident))? => $name:literal,)*) => {
        impl Algo {
            /// The algorithms, the baseline first.
            pub const ALL: [Algo; [$($name),*].len()] = [$(Algo::$algo $((Tile::$tile))?),*];

            /// Its name on the command line and in reports: `winograd4x3`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Algo::$algo $((Tile::$tile))? => $name,)*
                }
            }
        }
    };
}

algorithms! {
    Im2col => "im2col",
    Direct => "direct",
    Winograd(F2x3) => "winograd2x3",
    Winograd(F4x3) => "winograd4x3",
    Winograd(F4x4) => "winograd4x4",
    Winograd(F4x5) => "winograd4x5",
}

/// One of the passes that have a choice of algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassKind {
    /// [`Forward`](super::Forward)
    Forward,
    /// [`GradInput`](super::GradInput)
    GradInput,
    /// [`GradWeight`](super::GradWeight)
    GradWeight,
}

impl PassKind {
    /// The passes.
    pub const ALL: [PassKind; 3] = [PassKind::Forward, PassKind::GradInput, PassKind::GradWeight];

    /// Its name in reports: `grad_input`.
    pub const fn name(self) -> &'static str {
        match self {
            PassKind::Forward => "forward",
            PassKind::GradInput => "grad_input",
            PassKind::GradWeight => "grad_weight",
        }
    }
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Algo {
    /// How many times the rounding errors of a direct convolution the algorithm may have, measured against the largest
    /// element of the result: by which factor a check should widen bounds that leave a direct convolution some room. It
    /// is that of the mean square; the largest error of `F4x3` was 3.4 to 14 times that of a direct convolution. The
    /// transforms of Winograd's algorithm add and subtract values of a whole tile, with factors up to 8 and down to
    /// 1/24 for tiles of 4x4 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016).
    pub const fn error_factor(self) -> f64 {
        match self {
            Algo::Im2col | Algo::Direct | Algo::Winograd(Tile::F2x3) => 1.0,
            Algo::Winograd(Tile::F4x3) => 4.0,
            Algo::Winograd(Tile::F4x4) => 6.0,
            Algo::Winograd(Tile::F4x5) => 8.0,
        }
    }

    /// Whether the algorithm can compute a convolution of this shape.
    pub fn supports(self, p: &Conv2dParams) -> bool {
        match self {
            Algo::Im2col | Algo::Direct => true,
            Algo::Winograd(tile) => tile.supports(p),
        }
    }

    /// The algorithm that is fastest for a shape, with an instruction set on this CPU.
    ///
    /// Milliseconds of the forward pass / input gradient / weight gradient on one core of an AMD EPYC (Zen 4) with
    /// AVX-512, batch 64 at 32x32 (medians on a busy machine, +- 5 %); `resconv profile conv` measures the same:
    ///
    /// | layer | im2col | direct | Winograd 4x3 or 4x5 |
    /// | --- | --- | --- | --- |
    /// | 3x3, 32 to 32 channels | 23.7 / 20.9 / 16.1 | 12.7 / 12.5 / 11.8 | 5.0 / 5.1 / 5.9 |
    /// | 3x3, 20 to 20 channels | 14.2 / 10.6 / 11.2 | 7.4 / 7.4 / 7.8 | 3.9 / 3.8 / 4.2 |
    /// | 3x3, 1 to 32 channels | 2.3 / 5.4 / 2.9 | 1.0 / 1.2 / 0.8 | 1.6 / 2.9 / 1.7 |
    /// | 3x3, 32 to 1 channels | 16.7 / 4.6 / 9.6 | 1.2 / 0.8 / 1.1 | 2.9 / 1.5 / 3.1 |
    /// | 3x3, 32 to 32 channels, stride 2 | 6.4 / 5.7 / 4.7 | 3.5 / 4.4 / 3.6 | |
    /// | 5x5, 32 to 32 channels, batch 32 | 32.3 / 28.3 / 19.8 | 16.1 / 15.9 / 16.2 | 4.6 / 4.6 / 5.7 |
    /// | 5x5, 16 to 16 channels, batch 32 | 11.5 / 8.2 / 6.4 | 4.0 / 4.1 / 4.0 | 1.5 / 1.6 / 1.8 |
    /// | 5x5, 8 to 8 channels, batch 32 | 6.6 / 3.7 / 3.8 | 1.8 / 1.9 / 1.6 | 1.2 / 1.6 / 1.6 |
    /// | 7x7, 32 to 32 channels, batch 16 | | 15.1 / 15.1 / 15.9 | 6.4 / 6.3 / 9.0 |
    /// | 9x9, 32 to 32 channels, batch 8 | | 12.4 / 12.4 / 13.6 | 3.2 / 3.3 / 5.0 |
    /// | 11x11, 32 to 32 channels, batch 8 | | 18.4 / 18.4 / 21.1 | 7.0 / 7.1 / 10.3 |
    /// | 1x1, 32 to 32 channels | 3.6 / 5.5 / 3.4 | 1.6 / 1.5 / 1.8 | |
    /// | linear, 512 to 128 | 0.13 / 3.0 / 0.12 | 0.11 / 0.14 / 0.16 | |
    ///
    /// The last column of 7x7 and 11x11 is 4x5's; 4x4, which is chosen there, takes 0.75 to 0.81 of its time (Zen 5,
    /// 28x28).
    ///
    /// Im2col is never chosen: it wins the weight gradient of linear layers alone, by less than the allocations are
    /// worth.
    ///
    /// With one channel on either side it is direct: the transforms cost more than the products that they save.
    /// Elsewhere it is the one of the least estimated time. Outputs that are few, and large weights, make Winograd's
    /// algorithm slow. `cost.rs` has the estimate, and how good it is; `resconv profile conv --preset all` measures it.
    pub fn choose(p: &Conv2dParams, kind: PassKind, isa: Isa) -> Algo {
        Algo::choose_by(&Rates::of(isa), p, kind)
    }

    /// The algorithm that is fastest at such rates.
    pub(super) fn choose_by(rates: &Rates, p: &Conv2dParams, kind: PassKind) -> Algo {
        if p.c.min(p.k) == 1 {
            return Algo::Direct;
        }
        let tiles = [Tile::F2x3, Tile::F4x3, Tile::F4x4, Tile::F4x5].map(Algo::Winograd);
        let tiles = tiles.into_iter().filter(|algo| algo.supports(p));
        let tiles = tiles.map(|algo| (algo, algo.nanoseconds(rates, p, kind)));
        match tiles.min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((algo, time)) if time < Algo::Direct.nanoseconds(rates, p, kind) => algo,
            _ => Algo::Direct,
        }
    }

    /// An estimate of the time for a shape that one of Winograd's tiles supports.
    fn nanoseconds(self, rates: &Rates, p: &Conv2dParams, kind: PassKind) -> f64 {
        let direction = match kind {
            PassKind::Forward => Some(Direction::Forward),
            PassKind::GradInput => Some(Direction::Adjoint),
            PassKind::GradWeight => None,
        };
        match (self, direction) {
            (Algo::Winograd(tile), Some(direction)) => cost::winograd_convolution(rates, tile, p, direction),
            (Algo::Winograd(tile), None) => cost::winograd_gradient(rates, tile, p),
            (_, Some(direction)) => cost::direct_convolution(rates, p, direction),
            (_, None) => cost::direct_gradient(rates, p),
        }
    }

    /// The kernel's name in tests, benchmarks and reports, such as `conv2d-direct-avx2`.
    pub fn kernel_name(self, isa: Isa) -> String {
        // The product of im2col detects the CPU's best instruction set, whichever the rest runs with.
        format!("conv2d-{}-{isa}", self.name())
    }
}

impl fmt::Display for Algo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not that of an algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown algorithm `{0}`: expected one of {names}", names = Algo::ALL.map(Algo::name).join(", "))]
pub struct UnknownAlgo(String);

impl FromStr for Algo {
    type Err = UnknownAlgo;
    fn from_str(name: &str) -> Result<Algo, UnknownAlgo> {
        Algo::ALL.into_iter().find(|algo| algo.name() == name).ok_or_else(|| UnknownAlgo(name.to_owned()))
    }
}

impl Cpu {
    /// Computes every convolution that `algo` [supports](Algo::supports) with it, instead of the one that
    /// [`Algo::choose`] picks.
    pub fn with_conv2d_algo(self, algo: Algo) -> Cpu {
        self.with_algo(algo.name())
    }

    /// The algorithm that a pass of a convolution runs with, if the pass does not say.
    pub fn conv2d_algo(&self, p: &Conv2dParams, kind: PassKind) -> Algo {
        let forced = self.forced_algo().and_then(|name| name.parse().ok()).filter(|algo: &Algo| algo.supports(p));
        forced.unwrap_or_else(|| Algo::choose(p, kind, self.isa()))
    }
}
