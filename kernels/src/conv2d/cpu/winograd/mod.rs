//! Winograd convolution, stride 1: all three passes with 2.25 (`F(2x2,3x3)`), 4 (`F(4x4,3x3)`) or 6.25 (`F(4x4,5x5)`) times fewer
//! multiplications.
//!
//! ```text
//! forward      Y = A^T [ sum_c U . V ] A           V = B^T d B: N x N input tile    U = G w G^T
//! grad_input   forward of dy with the taps flipped and the channels swapped
//! grad_weight  dw = G^T [ sum_tiles V . Z ] G      Z = A dy A^T: M x M tile of the output's gradient
//! ```
//!
//! **Row-frequency blocking.** A block is some 16 tiles: rows of tiles of one or several images. The vertical half of the input
//! transform is done once a column, for all tiles that share it, and kept as `S[N][columns][C]` (some 50 KiB, L2). Then one
//! vertical frequency `i` after the other goes through horizontal transform, `N` products `[tiles x C][C x K]`, and horizontal
//! inverse, so that `V` and `M` (12 KiB each) never leave L1. The vertical inverse of all `i` comes last, with bias and store.
//! Nothing is ever transformed for the batch at once: the scratch of a thread is some 150 KiB.
//!
//! **Prefetch.** Rows of images are some 4 KiB long, so the CPU's own prefetchers start anew with every row of every tile, and a
//! block waits for its input as long as its transform takes. The products meanwhile use no memory but L2. So they fetch, a line
//! now and then, what the next block reads and what this one is about to overwrite (`gemm::Prefetch`).
//!
//! **grad_weight** accumulates `N x N` products `[C x tiles][tiles x K]`. The blocks are cut into at most [`GROUPS`] ranges by
//! shape alone; each has an accumulator of its own, and they are added in order at the end: same bits on any number of threads.
//! A range first sums some [`FLUSH_TILES`] tiles, then adds that to its accumulator: no sum is so long that its rounding errors
//! grow large.
//!
//! **Kernels in parts.** A kernel of more than 5 taps in a direction is cut into parts of 4, the last one of up to 5. The tile of
//! input that part `(a, b)` needs for the output tile `(i, j)` is the one that part `(0, 0)` needs for the output tile
//! `(i + a, j + b)`, as parts and tiles begin every 4 pixels. So there is one input transform and one output transform whatever
//! the kernel, and parts are more terms of the products' sums: a 9x9 kernel costs 16 multiplications an output instead of 81.
//! (Huang et al. 2020, "DWM", cut kernels likewise, but transform the input for every part.)
//!
//! Channels are padded to whole vectors inside the scratch. Tiles that stick out at the bottom and right read zeros and are
//! stored in part. Not for strides above 1, groups, or few channels: [`Algo::choose`](crate::conv2d::cpu::Algo::choose) knows.

mod columns;
mod forward;
mod gemm;
mod geometry;
mod grad_weight;
mod transform;
mod weight;

use super::super::{Conv2dParams, Mapped};
use super::part;
use crate::parallel::SharedSlice;
use crate::{Cpu, Write};
use forward::ForwardTask;
use geometry::{Blocking, Geometry, MAX_PARTS, ScratchLens, skewed};
use grad_weight::{GradWeightTask, ReduceTask};
use std::marker::PhantomData;
use transform::{F2x3, F4x3, F4x5, Transform};
use weight::{WeightTask, weight_len};

/// Which transform is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tile {
    /// `F(2x2,3x3)`: as accurate as a direct convolution.
    F2x3,
    /// `F(4x4,3x3)`: faster; its rounding errors are some four times as large.
    F4x3,
    /// `F(4x4,5x5)`, also for the parts of larger kernels.
    F4x5,
}

/// Taps in each direction that `F(4x4,5x5)` is used for: of fewer it wastes most frequencies, and more parts than
/// [`MAX_PARTS`] it does not have.
const F4X5_TAPS: std::ops::RangeInclusive<usize> = 4..=5 + 4 * (MAX_PARTS - 1);

/// Tiles of a block of the forward pass; long enough for the products, short enough for L1.
const FORWARD_TILES: usize = 16;
/// Tiles of a block of the weight gradient, whose products sum over them.
const GRAD_WEIGHT_TILES: usize = 32;
/// Tiles of a block if the kernel has parts: neighbours share transformed input, and the weight is large.
const PARTS_TILES: usize = 64;
/// Most ranges of blocks that the weight gradient is cut into.
const GROUPS: usize = 16;
/// Elements that the accumulators of all ranges have at most, if that leaves a few ranges.
const MAX_ACC_LEN: usize = 2 * 1024 * 1024;
/// Tiles that are summed before they are added to a range's accumulator.
const FLUSH_TILES: usize = 128;

impl Tile {
    /// Whether this transform can do the convolution.
    pub(super) fn supports(self, p: &Conv2dParams) -> bool {
        let fits = match self {
            Tile::F2x3 | Tile::F4x3 => p.r == 3 && p.s == 3,
            Tile::F4x5 => F4X5_TAPS.contains(&p.r) && F4X5_TAPS.contains(&p.s),
        };
        fits && p.stride_h == 1 && p.stride_w == 1 && p.groups == 1
    }
}

/// The passes with one transform.
struct Passes<T, const N: usize, const M: usize, const R: usize>(PhantomData<T>);

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Passes<T, N, M, R> {
    fn blocking(cpu: &Cpu, p: &Conv2dParams, tiles: usize) -> Blocking {
        let has_parts = p.r.max(p.s) > R;
        Blocking { m: M, r: R, tiles: if has_parts { PARTS_TILES } else { tiles }, lanes: cpu.isa.lanes() }
    }

    /// Of the forward pass, or of the input gradient.
    fn convolution(cpu: &Cpu, p: &Conv2dParams, adjoint: bool) -> Geometry {
        let blocking = Self::blocking(cpu, p, FORWARD_TILES);
        if adjoint { Geometry::grad_input(p, blocking) } else { Geometry::forward(p, blocking) }
    }

    fn convolve_workspace_len(cpu: &Cpu, p: &Conv2dParams, adjoint: bool) -> usize {
        let g = Self::convolution(cpu, p, adjoint);
        weight_len(N, &g) + cpu.pool.threads() * ScratchLens::new(&g, N, M).total()
    }

    #[allow(clippy::too_many_arguments)]
    fn convolve(
        cpu: &Cpu,
        p: &Conv2dParams,
        adjoint: bool,
        x: Mapped<'_, f32>,
        w: &[f32],
        bias: &[f32],
        y: &mut [f32],
        write: Write,
        workspace: &mut [f32],
    ) {
        let g = &Self::convolution(cpu, p, adjoint);
        let lens = ScratchLens::new(g, N, M);
        let (u, scratch) = workspace.split_at_mut(weight_len(N, g));
        let scratch = &mut scratch[..cpu.pool.threads() * lens.total()];
        let out = SharedSlice::new(u);
        cpu.pool.for_each(g.c, |channel| {
            let task = WeightTask::<T, N, M, R> { p, g, w, adjoint, channel, out, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
        let u: &[f32] = u;
        let y = SharedSlice::new(y);
        cpu.pool.for_each_with_scratch(g.blocks(), scratch, |index, scratch| {
            let scratch = lens.cut(scratch);
            let task = ForwardTask::<T, N, M, R> { g, index, x, u, bias, y, write, scratch, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
    }

    /// Of the weight gradient.
    fn correlation(cpu: &Cpu, p: &Conv2dParams) -> Geometry {
        Geometry::forward(p, Self::blocking(cpu, p, GRAD_WEIGHT_TILES))
    }

    fn groups(g: &Geometry) -> usize {
        g.blocks().min((MAX_ACC_LEN / Self::acc_len(g)).clamp(4, GROUPS))
    }

    fn acc_len(g: &Geometry) -> usize {
        N * N * g.parts[0] * g.parts[1] * skewed(g.c * g.k_padded())
    }

    fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams) -> usize {
        let g = &Self::correlation(cpu, p);
        let acc = Self::acc_len(g);
        Self::groups(g) * acc + cpu.pool.threads() * (ScratchLens::new(g, N, M).total() + acc)
    }

    fn grad_weight(
        cpu: &Cpu,
        p: &Conv2dParams,
        x: Mapped<'_, f32>,
        dy: Mapped<'_, f32>,
        dw: &mut [f32],
        write: Write,
        workspace: &mut [f32],
    ) {
        let g = &Self::correlation(cpu, p);
        let (groups, acc_len) = (Self::groups(g), Self::acc_len(g));
        let lens = ScratchLens::new(g, N, M);
        let (acc, scratch) = workspace.split_at_mut(groups * acc_len);
        let scratch = &mut scratch[..cpu.pool.threads() * (lens.total() + acc_len)];
        let shared = SharedSlice::new(acc);
        cpu.pool.for_each_with_scratch(groups, scratch, |group, scratch| {
            let blocks = part(g.blocks(), groups, group);
            // SAFETY: every task has an accumulator of its own.
            let acc = unsafe { shared.slice(group * acc_len, acc_len) };
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
            Tile::F4x5 => {
                type $passes = Passes<F4x5, 8, 4, 5>;
                $body
            }
        }
    };
}

/// `y (+)= conv(x, w) + bias`
#[allow(clippy::too_many_arguments)]
pub(super) fn forward(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    x: Mapped<'_, f32>,
    w: &[f32],
    bias: &[f32],
    y: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P| P::convolve(cpu, p, false, x, w, bias, y, write, workspace));
}

/// Scratch of [`forward()`], in elements.
pub(super) fn forward_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P| P::convolve_workspace_len(cpu, p, false))
}

/// `dx (+)= conv^T(dy, w) + bias`
#[allow(clippy::too_many_arguments)]
pub(super) fn grad_input(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    dy: Mapped<'_, f32>,
    w: &[f32],
    bias: &[f32],
    dx: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P| P::convolve(cpu, p, true, dy, w, bias, dx, write, workspace));
}

/// Scratch of [`grad_input`], in elements.
pub(super) fn grad_input_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P| P::convolve_workspace_len(cpu, p, true))
}

/// `dw (+)= x^T dy` for every tap
#[allow(clippy::too_many_arguments)]
pub(super) fn grad_weight(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    x: Mapped<'_, f32>,
    dy: Mapped<'_, f32>,
    dw: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P| P::grad_weight(cpu, p, x, dy, dw, write, workspace));
}

/// Scratch of [`grad_weight()`], in elements.
pub(super) fn grad_weight_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P| P::grad_weight_workspace_len(cpu, p))
}

#[cfg(test)]
mod tests;
