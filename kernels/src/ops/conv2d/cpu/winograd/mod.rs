//! Winograd convolution, stride 1: all three passes with 2.25 (`F(2x2,3x3)`), 4 (`F(4x4,3x3)`), 5.2 (`F(4x4,4x4)`) or
//! 6.25 (`F(4x4,5x5)`) times fewer multiplications.
//!
//! ```text
//! forward      Y = A^T [ sum_c U . V ] A           V = B^T d B: N x N input tile    U = G w G^T
//! grad_input   forward of dy with the taps flipped and the channels swapped
//! grad_weight  dw = G^T [ sum_tiles V . Z ] G      Z = A dy A^T: M x M tile of the output's gradient
//! ```
//!
//! **Row-frequency blocking.** A block is some 16 tiles: rows of tiles of one or several images. The vertical half of
//! the input transform is done once a column, for all tiles that share it, and kept as `S[N][columns][C]` (some 50 KiB,
//! L2). Then one vertical frequency `i` after the other goes through horizontal transform, `N` products
//! `[tiles x C][C x K]`, and horizontal inverse, so that `V` and `M` (12 KiB each) never leave L1. The vertical inverse
//! of all `i` comes last, with bias and store. Nothing is ever transformed for the batch at once: the scratch of a
//! thread is some 150 KiB.
//!
//! **Prefetch.** Rows of images are some 4 KiB long, so the CPU's own prefetchers start anew with every row of every
//! tile, and a block waits for its input as long as its transform takes. The products meanwhile use no memory but L2.
//! So they fetch, a line now and then, what the next block reads and what this one is about to overwrite
//! (`gemm::Stream`).
//!
//! **What follows.** A convolution may hand over each row of tiles when it is complete ([`Then`]), while it is in the
//! cache: [`conv_epilogue`](crate::conv_epilogue) computes the rest of a layer there.
//!
//! **grad_weight** accumulates `N x N` products `[C x tiles][tiles x K]`. Tasks share the blocks: there are at most
//! [`MAX_SHARES`] shares, which depend on the shape alone. Each has an accumulator of its own, and these are added in
//! order at the end, so the bits are the same on any number of threads. A share sums some
//! [`FLUSH_TILES`](grad_weight::FLUSH_TILES) tiles at a time and then adds them to its accumulator: no sum is so long
//! that its rounding errors grow large.
//!
//! **Kernels in parts.** A kernel with more taps in a direction than `R` is cut into parts of 4, the last one of up to
//! `R`. The tile of input that part `(a, b)` needs for the output tile `(i, j)` is the one that part `(0, 0)` needs for
//! the output tile `(i + a, j + b)`, as parts and tiles begin every 4 pixels. So there is one input transform and one
//! output transform whatever the kernel, and parts are more terms of the products' sums: a 7x7 kernel costs 12.25
//! multiplications an output instead of 49 with `F(4x4,4x4)`, and a 9x9 kernel 16 instead of 81 with `F(4x4,5x5)`.
//! (Huang et al. 2020, "DWM", cut kernels likewise, but transform the input for every part.)
//!
//! Channels are padded to whole vectors inside the scratch. Tiles that stick out at the bottom and right read zeros,
//! and what sticks out of them is not stored. [`Tile::supports`] says which shapes the algorithm can compute, and
//! [`Algo::choose`](crate::conv2d::Algo::choose) for which it is the fastest.

mod columns;
mod forward;
mod gemm;
mod geometry;
mod grad_weight;
mod transform;
mod weight;

use super::operands::{Convolution, Then, WeightGradient};
use super::tasks::share;
use crate::host::Cpu;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::ops::conv2d::tile::Tile;
use crate::parallel::SharedSlice;
use forward::ForwardTask;
use geometry::{Blocking, Geometry, ScratchLens, skewed};
use grad_weight::{GradWeightTask, ReduceTask};
use std::marker::PhantomData;
use transform::{F2x3, F4x3, F4x4, F4x5, Transform};
use weight::{WeightTask, weight_len};

/// Tiles of a block of the forward pass; long enough for the products, short enough for L1. Those of one vector of
/// channels are so short that twice as many fit.
const FORWARD_TILES: usize = 16;
/// Tiles of a block of the weight gradient, whose products sum over them.
const GRAD_WEIGHT_TILES: usize = 32;
/// Tiles of a block if the kernel has parts: neighbours share transformed input, and the weight is large.
const PARTS_TILES: usize = 64;
/// Blocks that a share of a weight gradient should have: with fewer, its accumulator costs more than its products.
const SHARE_BLOCKS: usize = 4;
/// Shares that there are at least if there are so many blocks, for the threads.
const MIN_SHARES: usize = 4;
/// Most shares that the blocks of a weight gradient are divided into.
const MAX_SHARES: usize = 16;
/// Elements that the accumulators of all shares have at most, if that leaves a few shares.
const MAX_ACC_LEN: usize = 2 * 1024 * 1024;

/// The passes with one transform.
struct Passes<T, const N: usize, const M: usize, const R: usize>(PhantomData<T>);

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Passes<T, N, M, R> {
    /// Blocks of so many tiles, or of [`PARTS_TILES`].
    fn blocking(cpu: &Cpu, p: &Conv2dParams, tiles: usize) -> Blocking {
        let has_parts = p.r.max(p.s) > R;
        Blocking { m: M, r: R, tiles: if has_parts { PARTS_TILES } else { tiles }, lanes: cpu.isa.lanes() }
    }

    fn convolution_geometry(cpu: &Cpu, p: &Conv2dParams, direction: Direction) -> Geometry {
        let is_one_vector = p.c.max(p.k) <= cpu.isa.lanes();
        let tiles = if is_one_vector { 2 * FORWARD_TILES } else { FORWARD_TILES };
        Geometry::new(p, direction, Self::blocking(cpu, p, tiles))
    }

    fn convolve_workspace_len(cpu: &Cpu, p: &Conv2dParams, direction: Direction) -> usize {
        let g = Self::convolution_geometry(cpu, p, direction);
        weight_len(N, &g) + cpu.pool.threads() * ScratchLens::forward(&g, N, M).total()
    }

    fn convolve(cpu: &Cpu, convolution: Convolution<'_>, then: Option<Then<'_>>, workspace: &mut [f32]) {
        let Convolution { direction, params: p, input: x, w, bias, out: y, write } = convolution;
        let g = &Self::convolution_geometry(cpu, p, direction);
        let lens = ScratchLens::forward(g, N, M);
        let (u, scratch) = workspace.split_at_mut(weight_len(N, g));
        let scratch = &mut scratch[..cpu.pool.threads() * lens.total()];
        let out = SharedSlice::new(u);
        cpu.pool.for_each(g.c, |channel| {
            let task = WeightTask::<T, N, M, R> { p, g, w, direction, channel, out, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
        let u: &[f32] = u;
        let y = SharedSlice::new(y);
        cpu.pool.for_each_with_scratch(g.blocks(), scratch, |index, scratch| {
            let scratch = lens.cut(scratch);
            let task =
                ForwardTask::<T, N, M, R> { g, index, x, u, bias, y, write, then, scratch, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
    }

    fn gradient_geometry(cpu: &Cpu, p: &Conv2dParams) -> Geometry {
        Geometry::new(p, Direction::Forward, Self::blocking(cpu, p, GRAD_WEIGHT_TILES))
    }

    /// Shares of the blocks of a weight gradient.
    fn shares(g: &Geometry) -> usize {
        let affordable = (MAX_ACC_LEN / Self::acc_len(g)).clamp(MIN_SHARES, MAX_SHARES);
        g.blocks().div_ceil(SHARE_BLOCKS).clamp(MIN_SHARES, affordable).min(g.blocks())
    }

    /// Elements of the accumulator of a share.
    fn acc_len(g: &Geometry) -> usize {
        N * N * g.parts[0] * g.parts[1] * skewed(g.c * g.k_padded())
    }

    fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams) -> usize {
        let g = &Self::gradient_geometry(cpu, p);
        let acc = Self::acc_len(g);
        Self::shares(g) * acc + cpu.pool.threads() * (ScratchLens::grad_weight(g, N, M).total() + acc)
    }

    fn grad_weight(cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
        let WeightGradient { params: p, x, dy, dw, write } = gradient;
        let g = &Self::gradient_geometry(cpu, p);
        let (shares, acc_len) = (Self::shares(g), Self::acc_len(g));
        let lens = ScratchLens::grad_weight(g, N, M);
        let (acc, scratch) = workspace.split_at_mut(shares * acc_len);
        let scratch = &mut scratch[..cpu.pool.threads() * (lens.total() + acc_len)];
        let shared = SharedSlice::new(acc);
        cpu.pool.for_each_with_scratch(shares, scratch, |i, scratch| {
            let blocks = share(g.blocks(), shares, i);
            // SAFETY: every task has an accumulator of its own.
            let acc = unsafe { shared.slice(i * acc_len, acc_len) };
            let scratch = lens.cut(scratch);
            let task = GradWeightTask::<T, N, M, R> { g, blocks, x, dy, acc, scratch, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
        let acc: &[f32] = acc;
        let dw = SharedSlice::new(dw);
        cpu.pool.for_each(g.c, |c| {
            let task = ReduceTask::<T, N, M, R> { p, g, c, acc, dw, write, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
    }
}

/// Runs `$body` with `$passes` standing for the passes of the transform.
macro_rules! with_tile {
    ($tile:expr, |$passes:ident| $body:expr) => {
        match $tile {
            Tile::F2x3 => {
                type $passes = Passes<F2x3, 4, 2, 3>;
                $body
            }
            Tile::F4x3 => {
                type $passes = Passes<F4x3, 6, 4, 3>;
                $body
            }
            Tile::F4x4 => {
                type $passes = Passes<F4x4, 7, 4, 4>;
                $body
            }
            Tile::F4x5 => {
                type $passes = Passes<F4x5, 8, 4, 5>;
                $body
            }
        }
    };
}

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`; then, what is done with the output.
pub(super) fn convolve(
    cpu: &Cpu,
    tile: Tile,
    convolution: Convolution<'_>,
    then: Option<Then<'_>>,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P| P::convolve(cpu, convolution, then, workspace));
}

/// Blocks of [`convolve`].
pub(super) fn blocks(cpu: &Cpu, tile: Tile, p: &Conv2dParams, direction: Direction) -> usize {
    with_tile!(tile, |P| P::convolution_geometry(cpu, p, direction).blocks())
}

/// Scratch of [`convolve`], in elements.
pub(super) fn convolve_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams, direction: Direction) -> usize {
    with_tile!(tile, |P| P::convolve_workspace_len(cpu, p, direction))
}

/// `dw (+)= x^T dy` for every tap
pub(super) fn grad_weight(cpu: &Cpu, tile: Tile, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
    with_tile!(tile, |P| P::grad_weight(cpu, gradient, workspace));
}

/// Scratch of [`grad_weight()`], in elements.
pub(super) fn grad_weight_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P| P::grad_weight_workspace_len(cpu, p))
}
