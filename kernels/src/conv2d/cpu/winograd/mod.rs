//! Winograd convolution, stride 1: all three passes with 4 (`F(4x4,3x3)`) or 2.25 (`F(2x2,3x3)`) times fewer multiplications.
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
//! **grad_weight** accumulates `N x N` products `[C x tiles][tiles x K]`. The blocks are cut into at most [`GROUPS`] ranges by
//! shape alone; each has an accumulator of its own, and they are added in order at the end: same bits on any number of threads.
//! A range first sums some [`FLUSH_TILES`] tiles, then adds that to its accumulator, which keeps the rounding error of long sums
//! below that of a direct convolution in one sum.
//!
//! Channels are padded to whole vectors inside the scratch. Tiles that stick out at the bottom and right read zeros and are
//! stored in part. Not for strides above 1, groups, or few channels: [`Algo::choose`](super::super::Algo::choose) knows.

mod gemm;
mod transform;

use super::super::Conv2dParams;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use crate::{Cpu, Write};
use gemm::{Matrix, accumulate, multiply, packed_index};
use std::marker::PhantomData;
use transform::{F2x3, F4x3, Transform, weight, weight_adjoint};

/// Which tile size is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `F(2x2,3x3)`: as accurate as a direct convolution.
    Two,
    /// `F(4x4,3x3)`: faster; its rounding errors are some four times as large.
    Four,
}

/// Tiles of a block of the forward pass; long enough for the products, short enough for L1.
const FORWARD_TILES: usize = 16;
/// Tiles of a block of the weight gradient, whose products sum over them.
const GRAD_WEIGHT_TILES: usize = 32;
/// Most ranges of blocks that the weight gradient is cut into.
const GROUPS: usize = 16;
/// Tiles that are summed before they are added to a range's accumulator.
const FLUSH_TILES: usize = 128;
/// Added to strides that are a multiple of 4 KiB for common channel counts, else their cache lines share one set.
const SKEW: usize = 16;

/// Whether this algorithm can do the convolution.
pub fn supports(p: &Conv2dParams) -> bool {
    p.r == 3 && p.s == 3 && p.stride_h == 1 && p.stride_w == 1 && p.groups == 1
}

/// A convolution with stride 1 of `[n,h,w,c]` to `[n,p,q,k]`, cut into blocks of tiles.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    h: usize,
    w: usize,
    c: usize,
    p: usize,
    q: usize,
    k: usize,
    /// Rows of zeros above and columns of zeros left of the input; below 0 they cut the input.
    pad: [isize; 2],
    /// Vectors of input and output channels.
    c_vectors: usize,
    k_vectors: usize,
    lanes: usize,
    /// Rows of tiles of one image, and of the batch; columns of tiles.
    tiles_h: usize,
    tile_rows: usize,
    tiles_w: usize,
    /// Most rows and columns of tiles of a block.
    block_rows: usize,
    block_cols: usize,
    /// Blocks in each direction.
    blocks_h: usize,
    blocks_w: usize,
}

/// Part of a block grid: `rows` rows of tiles from `row`, of `cols` tiles from `col`.
#[derive(Clone, Copy, Debug)]
struct Block {
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
}

impl Geometry {
    fn new(
        [n, h, w, c]: [usize; 4],
        [p, q, k]: [usize; 3],
        pad: [isize; 2],
        m: usize,
        tiles: usize,
        lanes: usize,
    ) -> Geometry {
        let (tiles_h, tiles_w) = (p.div_ceil(m), q.div_ceil(m));
        let tile_rows = n * tiles_h;
        let blocks_w = tiles_w.div_ceil(tiles);
        let block_cols = tiles_w.div_ceil(blocks_w);
        let blocks_h = tile_rows.div_ceil((tiles / block_cols).max(1));
        let block_rows = tile_rows.div_ceil(blocks_h);
        let (c_vectors, k_vectors) = (c.div_ceil(lanes), k.div_ceil(lanes));
        Geometry {
            h,
            w,
            c,
            p,
            q,
            k,
            pad,
            c_vectors,
            k_vectors,
            lanes,
            tiles_h,
            tile_rows,
            tiles_w,
            block_rows,
            block_cols,
            blocks_h,
            blocks_w,
        }
    }

    /// The geometry of a pass's forward-like convolution, or of its weight gradient.
    fn forward(p: &Conv2dParams, m: usize, tiles: usize, lanes: usize) -> Geometry {
        let pad = [p.pad_h as isize, p.pad_w as isize];
        Geometry::new([p.n, p.h, p.w, p.c], [p.p, p.q, p.k], pad, m, tiles, lanes)
    }

    /// The geometry of the input gradient as a convolution of `dy` with flipped taps.
    fn grad_input(p: &Conv2dParams, m: usize, tiles: usize, lanes: usize) -> Geometry {
        let pad = [p.r as isize - 1 - p.pad_h as isize, p.s as isize - 1 - p.pad_w as isize];
        Geometry::new([p.n, p.p, p.q, p.k], [p.h, p.w, p.c], pad, m, tiles, lanes)
    }

    fn blocks(&self) -> usize {
        self.blocks_h * self.blocks_w
    }

    fn block(&self, index: usize) -> Block {
        let (i, j) = (index / self.blocks_w, index % self.blocks_w);
        let cut = |i: usize, blocks: usize, tiles: usize| (tiles * i / blocks, tiles * (i + 1) / blocks);
        let (row, row_end) = cut(i, self.blocks_h, self.tile_rows);
        let (col, col_end) = cut(j, self.blocks_w, self.tiles_w);
        Block { row, rows: row_end - row, col, cols: col_end - col }
    }

    fn c_padded(&self) -> usize {
        self.c_vectors * self.lanes
    }

    fn k_padded(&self) -> usize {
        self.k_vectors * self.lanes
    }

    fn block_tiles(&self) -> usize {
        self.block_rows * self.block_cols
    }
}

/// Elements between two frequencies of a buffer of `len` elements each.
const fn skewed(len: usize) -> usize {
    len + SKEW
}

/// Lengths of the scratch buffers of a block, in elements. `in_*` hold input channels, `out_*` output channels.
struct ScratchLens {
    zeros: usize,
    /// `S`: vertical frequencies of the input's columns.
    in_columns: usize,
    /// `V`: horizontal frequencies of the input's tiles, for one vertical one.
    in_tiles: usize,
    /// Vertical frequencies of the output's columns.
    out_columns: usize,
    /// `M` or `Z`.
    out_tiles: usize,
}

impl ScratchLens {
    fn new(g: &Geometry, n: usize, m: usize) -> ScratchLens {
        let (c, k) = (g.c_padded(), g.k_padded());
        ScratchLens {
            zeros: (g.block_cols * m + n - m) * c.max(k),
            in_columns: n * skewed(g.block_rows * (m * g.block_cols + n - m) * c),
            in_tiles: n * skewed(g.block_tiles() * c),
            out_columns: n * skewed(g.block_rows * m * g.block_cols * k),
            out_tiles: n * skewed(g.block_tiles() * k),
        }
    }

    fn total(&self) -> usize {
        self.zeros + self.in_columns + self.in_tiles + self.out_columns + self.out_tiles
    }

    fn cut<'a>(&self, scratch: &'a mut [f32]) -> Scratch<'a> {
        let (zeros, rest) = scratch.split_at_mut(self.zeros);
        let (in_columns, rest) = rest.split_at_mut(self.in_columns);
        let (in_tiles, rest) = rest.split_at_mut(self.in_tiles);
        let (out_columns, rest) = rest.split_at_mut(self.out_columns);
        let (out_tiles, rest) = rest.split_at_mut(self.out_tiles);
        zeros.fill(0.0);
        Scratch { zeros, in_columns, in_tiles, out_columns, out_tiles, rest }
    }
}

/// The buffers that [`ScratchLens`] describes; `rest` is what remains.
struct Scratch<'a> {
    zeros: &'a [f32],
    in_columns: &'a mut [f32],
    in_tiles: &'a mut [f32],
    out_columns: &'a mut [f32],
    out_tiles: &'a mut [f32],
    rest: &'a mut [f32],
}

/// The vector at `ptr + vector LANES` of a row of `channels` values, zeros beyond it.
///
/// # Safety
/// `ptr` is valid for reading `channels` values, and `vector LANES < channels`.
#[inline(always)]
unsafe fn load_channels<S: Simd>(s: S, ptr: *const f32, vector: usize, channels: usize) -> S::F32 {
    let start = vector * S::LANES;
    // SAFETY: the caller's duty.
    unsafe {
        if start + S::LANES <= channels {
            s.load(ptr.add(start))
        } else {
            s.load_partial(ptr.add(start), channels - start)
        }
    }
}

/// The first pixel of each of `N` rows of an image `[height, width, channels]`, from row `first` on. A row outside the image
/// is `zeros`; the second array tells which are inside.
fn window<const N: usize>(
    image: &[f32],
    zeros: &[f32],
    first: isize,
    [height, width, channels]: [usize; 3],
) -> ([*const f32; N], [bool; N]) {
    let mut rows = [zeros.as_ptr(); N];
    let mut inside = [false; N];
    for i in 0..N {
        if let Ok(row) = usize::try_from(first + i as isize)
            && row < height
        {
            rows[i] = image[row * width * channels..][..width * channels].as_ptr();
            inside[i] = true;
        }
    }
    (rows, inside)
}

/// Transforms `columns` columns of `channels` values: `out[i][column][..] = f(rows[0][column][..], ...)[i]`, where the rows of
/// `out` are `stride` apart and their pixels padded to whole vectors.
///
/// # Safety
/// Each of `rows` is valid for reading `columns x channels` values, and `out + i stride` for writing `columns` padded pixels.
#[inline(always)]
unsafe fn transform_columns<S: Simd, const A: usize, const B: usize>(
    s: S,
    rows: [*const f32; A],
    [columns, channels]: [usize; 2],
    out: *mut f32,
    stride: usize,
    f: impl Fn([S::F32; A]) -> [S::F32; B],
) {
    /// One vector of a column.
    macro_rules! apply {
        ($from:expr, $to:expr, |$row:ident| $load:expr) => {{
            let (from, to) = ($from, $to);
            let mut d = [s.splat(0.0); A];
            for (d, row) in d.iter_mut().zip(rows) {
                // SAFETY: `from` and the values after it are among the row's `columns x channels`.
                *d = unsafe {
                    let $row = row.add(from);
                    $load
                };
            }
            for (i, f) in f(d).into_iter().enumerate() {
                // SAFETY: `to` begins a vector of one of the padded pixels.
                unsafe { s.store(out.add(i * stride + to), f) };
            }
        }};
    }
    if channels.is_multiple_of(S::LANES) {
        // No pixel has padding: one run of vectors.
        for at in (0..columns * channels).step_by(S::LANES) {
            apply!(at, at, |row| s.load(row));
        }
        return;
    }
    let whole = channels - channels % S::LANES;
    for column in 0..columns {
        let (from, to) = (column * channels, column * channels.next_multiple_of(S::LANES));
        for v in (0..whole).step_by(S::LANES) {
            apply!(from + v, to + v, |row| s.load(row));
        }
        apply!(from + whole, to + whole, |row| s.load_partial(row, channels - whole));
    }
}

/// `S = B^T d` of every column of a block.
#[inline(always)]
fn input_columns<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    x: &[f32],
    zeros: &[f32],
    out: &mut [f32],
) {
    let columns = M * b.cols + R - 1;
    let c = g.c_padded();
    let stride = skewed(b.rows * columns * c);
    assert!(out.len() >= N * stride && zeros.len() >= columns * c);
    let image_len = g.h * g.w * g.c;
    for row in 0..b.rows {
        let (image, tile) = ((b.row + row) / g.tiles_h, (b.row + row) % g.tiles_h);
        let image = &x[image * image_len..(image + 1) * image_len];
        let first = (b.col * M) as isize - g.pad[1];
        let (mut rows, inside) = window::<N>(image, zeros, (tile * M) as isize - g.pad[0], [g.h, g.w, g.c]);
        // Columns `start..end` of the block are inside the image.
        let start = (-first).clamp(0, columns as isize) as usize;
        let end = (g.w as isize - first).clamp(start as isize, columns as isize) as usize;
        let out = &mut out[row * columns * c..];
        for i in 0..N {
            out[i * stride..][..start * c].fill(0.0);
            out[i * stride..][end * c..columns * c].fill(0.0);
        }
        if start == end {
            continue;
        }
        for (row, inside) in rows.iter_mut().zip(inside) {
            if inside {
                // SAFETY: the row has `w` pixels, and `0 <= start + first < w`.
                *row = unsafe { row.add((start as isize + first) as usize * g.c) };
            }
        }
        // SAFETY: `end - start` pixels from there are inside the row, `zeros` is as long as a row of the block, and `out` holds
        // `N` rows of `columns` pixels, `stride` apart.
        unsafe {
            let out = out.as_mut_ptr().add(start * c);
            transform_columns(
                s,
                rows,
                [end - start, g.c],
                out,
                stride,
                #[inline(always)]
                |d| T::input(s, d),
            );
        }
    }
}

/// `V = S B` of every tile of a block, for one vertical frequency whose columns are `columns`.
#[inline(always)]
fn input_tiles<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    columns: &[f32],
    out: &mut [f32],
) {
    let c = g.c_padded();
    let stride = skewed(b.rows * b.cols * c);
    let width = M * b.cols + R - 1;
    assert!(columns.len() >= b.rows * width * c && out.len() >= N * stride);
    for row in 0..b.rows {
        for col in 0..b.cols {
            let (from, to) = ((row * width + col * M) * c, (row * b.cols + col) * c);
            for v in (0..c).step_by(S::LANES) {
                let mut d = [s.splat(0.0); N];
                for (j, d) in d.iter_mut().enumerate() {
                    // SAFETY: `col M + j < width`: inside `columns`, whose length is asserted.
                    *d = unsafe { s.load(columns.as_ptr().add(from + j * c + v)) };
                }
                for (j, f) in T::input(s, d).into_iter().enumerate() {
                    // SAFETY: inside `out`, whose length is asserted.
                    unsafe { s.store(out.as_mut_ptr().add(j * stride + to + v), f) };
                }
            }
        }
    }
}

/// `G w G^T` for all channels, packed for [`multiply`]: `u[i N + j]` is the packed `[depth x columns]` matrix.
struct WeightTask<'a, T> {
    p: &'a Conv2dParams,
    w: &'a [f32],
    /// Flip the taps and swap the channels, for the input gradient.
    adjoint: bool,
    c: usize,
    out: SharedSlice<'a, f32>,
    transform: PhantomData<T>,
}

/// Elements of all frequencies of the transformed weight with `depth` input channels.
const fn weight_len(n: usize, depth: usize, k_padded: usize) -> usize {
    n * n * skewed(depth * k_padded)
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel
    for WeightTask<'_, (T, [(); N], [(); M], [(); R])>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightTask { p, c, .. } = self;
        let (depth, columns) = if self.adjoint { (p.k, p.c) } else { (p.c, p.k) };
        let vectors = columns.div_ceil(S::LANES);
        let stride = skewed(depth * vectors * S::LANES);
        for v in 0..p.k.div_ceil(S::LANES) {
            let mut taps = [[s.splat(0.0); R]; R];
            for (i, row) in taps.iter_mut().enumerate() {
                for (j, tap) in row.iter_mut().enumerate() {
                    let (r, q) = if self.adjoint { (R - 1 - i, R - 1 - j) } else { (i, j) };
                    let row = &self.w[((r * R + q) * p.c + c) * p.k..][..p.k];
                    // SAFETY: the row has `k` values.
                    *tap = unsafe { load_channels(s, row.as_ptr(), v, p.k) };
                }
            }
            let u = weight::<S, T, N, M, R>(s, taps);
            for (f, u) in u.as_flattened().iter().enumerate() {
                let mut lanes = [0.0; 16];
                // SAFETY: 16 values hold the widest vector.
                unsafe { s.store(lanes.as_mut_ptr(), *u) };
                let count = if self.adjoint { S::LANES.min(p.k - v * S::LANES) } else { S::LANES };
                for (lane, value) in lanes[..count].iter().enumerate() {
                    let k = v * S::LANES + lane;
                    let (row, column) = if self.adjoint { (k, c) } else { (c, k) };
                    let index = packed_index(row, column, depth, vectors, S::LANES);
                    // SAFETY: this task alone writes channel `c`.
                    unsafe { self.out.slice(f * stride + index, 1)[0] = *value };
                }
            }
        }
    }
}

/// Forward pass of one block.
struct ForwardTask<'a, T> {
    g: &'a Geometry,
    block: Block,
    x: &'a [f32],
    u: &'a [f32],
    bias: &'a [f32],
    y: SharedSlice<'a, f32>,
    write: Write,
    scratch: Scratch<'a>,
    transform: PhantomData<T>,
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel
    for ForwardTask<'_, (T, [(); N], [(); M], [(); R])>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardTask { g, block: b, x, u, bias, y, write, scratch, .. } = self;
        let (c, k) = (g.c_padded(), g.k_padded());
        let (tiles, width) = (b.rows * b.cols, M * b.cols);
        let in_stride = skewed(b.rows * (width + R - 1) * c);
        let (v_stride, m_stride) = (skewed(tiles * c), skewed(tiles * k));
        let out_stride = skewed(b.rows * width * k);
        let u_stride = skewed(g.c * k);
        input_columns::<S, T, N, M, R>(s, g, &b, x, scratch.zeros, scratch.in_columns);
        for i in 0..N {
            input_tiles::<S, T, N, M, R>(s, g, &b, &scratch.in_columns[i * in_stride..], scratch.in_tiles);
            for j in 0..N {
                let left = &scratch.in_tiles[j * v_stride..][..tiles * c];
                let right = &u[(i * N + j) * u_stride..][..g.c * k];
                let out = &mut scratch.out_tiles[j * m_stride..][..tiles * k];
                let left = Matrix { ptr: left.as_ptr(), stride: c };
                let out = Matrix { ptr: out.as_mut_ptr(), stride: k };
                // SAFETY: the slices above have the lengths that the call needs.
                unsafe { multiply(s, left, right.as_ptr(), out, [tiles, g.c, g.k_vectors]) };
            }
            let out = &mut scratch.out_columns[i * out_stride..][..b.rows * width * k];
            for tile in 0..tiles {
                for v in (0..k).step_by(S::LANES) {
                    let mut m = [s.splat(0.0); N];
                    for (j, m) in m.iter_mut().enumerate() {
                        // SAFETY: `multiply` wrote `tiles x k` values of each frequency.
                        *m = unsafe { s.load(scratch.out_tiles.as_ptr().add(j * m_stride + tile * k + v)) };
                    }
                    for (j, m) in T::output(s, m).into_iter().enumerate() {
                        // SAFETY: `(tile M + j) k + v + LANES` is at most `rows width k`.
                        unsafe { s.store(out.as_mut_ptr().add((tile * M + j) * k + v), m) };
                    }
                }
            }
        }
        for row in 0..b.rows {
            let (image, tile) = ((b.row + row) / g.tiles_h, (b.row + row) % g.tiles_h);
            let height = M.min(g.p - tile * M);
            let columns = width.min(g.q - b.col * M);
            let mut rows: [*mut f32; M] = [std::ptr::null_mut(); M];
            for (m, out) in rows.iter_mut().enumerate().take(height) {
                let at = ((image * g.p + tile * M + m) * g.q + b.col * M) * g.k;
                // SAFETY: no other block stores these pixels.
                *out = unsafe { y.slice(at, columns * g.k) }.as_mut_ptr();
            }
            let from = scratch.out_columns[row * width * k..].as_ptr();
            for column in 0..columns {
                for v in 0..g.k_vectors {
                    let mut f = [s.splat(0.0); N];
                    for (i, f) in f.iter_mut().enumerate() {
                        // SAFETY: inside the buffer, as where it was written.
                        *f = unsafe { s.load(from.add(i * out_stride + column * k + v * S::LANES)) };
                    }
                    let mut value = T::output(s, f);
                    if !bias.is_empty() {
                        // SAFETY: the bias has `k` values.
                        let bias = unsafe { load_channels(s, bias.as_ptr(), v, g.k) };
                        value = value.map(
                            #[inline(always)]
                            |value| s.add(value, bias),
                        );
                    }
                    let at = column * g.k + v * S::LANES;
                    // Whole tiles of whole vectors apart: the compiler unrolls them.
                    if height == M && write == Write::Set && (v + 1) * S::LANES <= g.k {
                        for (row, value) in rows.into_iter().zip(value) {
                            // SAFETY: the row has `columns` pixels of `k` values.
                            unsafe { s.store(row.add(at), value) };
                        }
                        continue;
                    }
                    let count = S::LANES.min(g.k - v * S::LANES);
                    for (row, value) in rows.into_iter().zip(value).take(height) {
                        // SAFETY: as above.
                        unsafe {
                            let old =
                                if write == Write::Add { s.load_partial(row.add(at), count) } else { s.splat(0.0) };
                            s.store_partial(row.add(at), s.add(old, value), count);
                        }
                    }
                }
            }
        }
    }
}

/// Weight gradient of a range of blocks, in the frequency domain: `acc[i N + j][c][k]`, set.
struct GradWeightTask<'a, T> {
    g: &'a Geometry,
    blocks: std::ops::Range<usize>,
    x: &'a [f32],
    dy: &'a [f32],
    acc: &'a mut [f32],
    scratch: Scratch<'a>,
    transform: PhantomData<T>,
}

/// `A dy` of every column of a block: as [`input_columns`], for tiles of the output's gradient.
#[inline(always)]
fn output_columns<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    dy: &[f32],
    zeros: &[f32],
    out: &mut [f32],
) {
    let (k, width) = (g.k_padded(), M * b.cols);
    let stride = skewed(b.rows * width * k);
    assert!(out.len() >= N * stride && zeros.len() >= width * k);
    let image_len = g.p * g.q * g.k;
    for row in 0..b.rows {
        let (image, tile) = ((b.row + row) / g.tiles_h, (b.row + row) % g.tiles_h);
        let image = &dy[image * image_len..(image + 1) * image_len];
        let (mut rows, inside) = window::<M>(image, zeros, (tile * M) as isize, [g.p, g.q, g.k]);
        let columns = width.min(g.q - b.col * M);
        let out = &mut out[row * width * k..];
        for i in 0..N {
            out[i * stride..][columns * k..width * k].fill(0.0);
        }
        for (row, inside) in rows.iter_mut().zip(inside) {
            if inside {
                // SAFETY: the row has `q` pixels, and the block begins inside.
                *row = unsafe { row.add(b.col * M * g.k) };
            }
        }
        // SAFETY: `columns` pixels from there are inside the row, `zeros` is as long as a row of the block, and `out` holds `N`
        // rows of `width` pixels, `stride` apart.
        unsafe {
            transform_columns(
                s,
                rows,
                [columns, g.k],
                out.as_mut_ptr(),
                stride,
                #[inline(always)]
                |d| T::output_adjoint(s, d),
            )
        };
    }
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel
    for GradWeightTask<'_, (T, [(); N], [(); M], [(); R])>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GradWeightTask { g, blocks, x, dy, acc: total, scratch, .. } = self;
        let (c, k) = (g.c_padded(), g.k_padded());
        let sum_stride = skewed(g.c * k);
        let sum = &mut scratch.rest[..N * N * sum_stride];
        assert_eq!(total.len(), sum.len());
        sum.fill(0.0);
        total.fill(0.0);
        let mut summed = 0;
        let last = blocks.end;
        for index in blocks {
            let b = g.block(index);
            let (tiles, width) = (b.rows * b.cols, M * b.cols);
            let in_stride = skewed(b.rows * (width + R - 1) * c);
            let out_stride = skewed(b.rows * width * k);
            let (v_stride, z_stride) = (skewed(tiles * c), skewed(tiles * k));
            input_columns::<S, T, N, M, R>(s, g, &b, x, scratch.zeros, scratch.in_columns);
            output_columns::<S, T, N, M, R>(s, g, &b, dy, scratch.zeros, scratch.out_columns);
            for i in 0..N {
                input_tiles::<S, T, N, M, R>(s, g, &b, &scratch.in_columns[i * in_stride..], scratch.in_tiles);
                let columns = &scratch.out_columns[i * out_stride..][..b.rows * width * k];
                for tile in 0..tiles {
                    for v in (0..k).step_by(S::LANES) {
                        let mut d = [s.splat(0.0); M];
                        for (j, d) in d.iter_mut().enumerate() {
                            // SAFETY: `(tile M + j) k + v + LANES` is at most `rows width k`.
                            *d = unsafe { s.load(columns.as_ptr().add((tile * M + j) * k + v)) };
                        }
                        for (j, f) in T::output_adjoint(s, d).into_iter().enumerate() {
                            // SAFETY: `out_tiles` holds N frequencies of `z_stride` elements.
                            unsafe { s.store(scratch.out_tiles.as_mut_ptr().add(j * z_stride + tile * k + v), f) };
                        }
                    }
                }
                for j in 0..N {
                    let left = &scratch.in_tiles[j * v_stride..][..tiles * c];
                    let right = &scratch.out_tiles[j * z_stride..][..tiles * k];
                    let out = &mut sum[(i * N + j) * sum_stride..][..g.c * k];
                    let left = Matrix { ptr: left.as_ptr(), stride: c };
                    let right = Matrix { ptr: right.as_ptr(), stride: k };
                    let out = Matrix { ptr: out.as_mut_ptr(), stride: k };
                    // SAFETY: the slices above have the lengths that the call needs.
                    unsafe { accumulate(s, left, right, out, [g.c, tiles, g.k_vectors]) };
                }
            }
            summed += tiles;
            if summed >= FLUSH_TILES || index + 1 == last {
                summed = 0;
                for (total, sum) in total.iter_mut().zip(&mut *sum) {
                    *total += *sum;
                    *sum = 0.0;
                }
            }
        }
    }
}

/// `dw (+)= G^T [sum of the groups' accumulators] G` for one input channel.
struct ReduceTask<'a, T> {
    g: &'a Geometry,
    c: usize,
    acc: &'a [f32],
    dw: SharedSlice<'a, f32>,
    write: Write,
    transform: PhantomData<T>,
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel
    for ReduceTask<'_, (T, [(); N], [(); M], [(); R])>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ReduceTask { g, c, acc, dw, write, .. } = self;
        let k = g.k_padded();
        let stride = skewed(g.c * k);
        for v in 0..g.k_vectors {
            let start = v * S::LANES;
            let count = S::LANES.min(g.k - start);
            let mut sums = [[s.splat(0.0); N]; N];
            for group in acc.chunks_exact(N * N * stride) {
                for (f, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let row = &group[f * stride + c * k + start..][..S::LANES];
                    // SAFETY: the row has LANES values.
                    *sum = s.add(*sum, unsafe { s.load(row.as_ptr()) });
                }
            }
            let taps = weight_adjoint::<S, T, N, M, R>(s, sums);
            for (tap, value) in taps.as_flattened().iter().enumerate() {
                // SAFETY: this task alone writes channel `c`.
                let out = unsafe { dw.slice((tap * g.c + c) * g.k + start, count) };
                let mut value = *value;
                // SAFETY: `out` has `count` values.
                unsafe {
                    if write == Write::Add {
                        value = s.add(value, s.load_partial(out.as_ptr(), count));
                    }
                    s.store_partial(out.as_mut_ptr(), value, count);
                }
            }
        }
    }
}

/// The passes with one transform.
struct Passes<T>(PhantomData<T>);

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Passes<(T, [(); N], [(); M], [(); R])> {
    fn convolve_workspace_len(cpu: &Cpu, g: &Geometry) -> usize {
        weight_len(N, g.c, g.k_padded()) + cpu.pool.threads() * ScratchLens::new(g, N, M).total()
    }

    #[allow(clippy::too_many_arguments)]
    fn convolve(
        cpu: &Cpu,
        p: &Conv2dParams,
        g: &Geometry,
        adjoint: bool,
        x: &[f32],
        w: &[f32],
        bias: &[f32],
        y: &mut [f32],
        write: Write,
        workspace: &mut [f32],
    ) {
        let lens = ScratchLens::new(g, N, M);
        let (u, scratch) = workspace.split_at_mut(weight_len(N, g.c, g.k_padded()));
        let scratch = &mut scratch[..cpu.pool.threads() * lens.total()];
        let out = SharedSlice::new(u);
        let columns = if adjoint { p.c } else { p.k };
        if !columns.is_multiple_of(g.lanes) {
            // Columns that only pad are multiplied too; nothing else writes them.
            // SAFETY: no task runs.
            unsafe { out.slice(0, weight_len(N, g.c, g.k_padded())) }.fill(0.0);
        }
        cpu.pool.for_each(p.c, |c| {
            let task = WeightTask::<(T, [(); N], [(); M], [(); R])> { p, w, adjoint, c, out, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
        let u: &[f32] = u;
        let y = SharedSlice::new(y);
        cpu.pool.for_each_with_scratch(g.blocks(), scratch, |index, scratch| {
            let (block, scratch) = (g.block(index), lens.cut(scratch));
            let task = ForwardTask::<(T, [(); N], [(); M], [(); R])> {
                g,
                block,
                x,
                u,
                bias,
                y,
                write,
                scratch,
                transform: PhantomData,
            };
            cpu.isa.dispatch(task);
        });
    }

    fn groups(g: &Geometry) -> usize {
        g.blocks().min(GROUPS)
    }

    fn acc_len(g: &Geometry) -> usize {
        N * N * skewed(g.c * g.k_padded())
    }

    fn grad_weight_workspace_len(cpu: &Cpu, g: &Geometry) -> usize {
        let acc = Self::acc_len(g);
        Self::groups(g) * acc + cpu.pool.threads() * (ScratchLens::new(g, N, M).total() + acc)
    }

    fn grad_weight(
        cpu: &Cpu,
        g: &Geometry,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        write: Write,
        workspace: &mut [f32],
    ) {
        let (groups, acc_len) = (Self::groups(g), Self::acc_len(g));
        let lens = ScratchLens::new(g, N, M);
        let (acc, scratch) = workspace.split_at_mut(groups * acc_len);
        let scratch = &mut scratch[..cpu.pool.threads() * (lens.total() + acc_len)];
        let shared = SharedSlice::new(acc);
        cpu.pool.for_each_with_scratch(groups, scratch, |group, scratch| {
            let blocks = g.blocks() * group / groups..g.blocks() * (group + 1) / groups;
            // SAFETY: every task has an accumulator of its own.
            let acc = unsafe { shared.slice(group * acc_len, acc_len) };
            let scratch = lens.cut(scratch);
            let task = GradWeightTask::<(T, [(); N], [(); M], [(); R])> {
                g,
                blocks,
                x,
                dy,
                acc,
                scratch,
                transform: PhantomData,
            };
            cpu.isa.dispatch(task);
        });
        let acc: &[f32] = acc;
        let dw = SharedSlice::new(dw);
        cpu.pool.for_each(g.c, |c| {
            let task = ReduceTask::<(T, [(); N], [(); M], [(); R])> { g, c, acc, dw, write, transform: PhantomData };
            cpu.isa.dispatch(task);
        });
    }
}

/// Runs `$body` with `$passes` standing for the passes of the tile size, and `$m` for the tile's outputs a side.
macro_rules! with_tile {
    ($tile:expr, |$passes:ident, $m:ident| $body:expr) => {
        match $tile {
            Tile::Two => {
                type $passes = Passes<(F2x3, [(); 4], [(); 2], [(); 3])>;
                let $m = 2;
                $body
            }
            Tile::Four => {
                type $passes = Passes<(F4x3, [(); 6], [(); 4], [(); 3])>;
                let $m = 4;
                $body
            }
        }
    };
}

/// `y (+)= conv(x, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn forward(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    y: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P, m| {
        let g = Geometry::forward(p, m, FORWARD_TILES, cpu.isa.lanes());
        P::convolve(cpu, p, &g, false, x, w, bias, y, write, workspace);
    });
}

/// Scratch of [`forward`], in elements.
pub fn forward_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P, m| P::convolve_workspace_len(cpu, &Geometry::forward(p, m, FORWARD_TILES, cpu.isa.lanes())))
}

/// `dx (+)= conv^T(dy, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn grad_input(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    dy: &[f32],
    w: &[f32],
    bias: &[f32],
    dx: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P, m| {
        let g = Geometry::grad_input(p, m, FORWARD_TILES, cpu.isa.lanes());
        P::convolve(cpu, p, &g, true, dy, w, bias, dx, write, workspace);
    });
}

/// Scratch of [`grad_input`], in elements.
pub fn grad_input_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P, m| P::convolve_workspace_len(cpu, &Geometry::grad_input(p, m, FORWARD_TILES, cpu.isa.lanes())))
}

/// `dw (+)= x^T dy` for every tap
#[allow(clippy::too_many_arguments)]
pub fn grad_weight(
    cpu: &Cpu,
    tile: Tile,
    p: &Conv2dParams,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    with_tile!(tile, |P, m| {
        let g = Geometry::forward(p, m, GRAD_WEIGHT_TILES, cpu.isa.lanes());
        P::grad_weight(cpu, &g, x, dy, dw, write, workspace);
    });
}

/// Scratch of [`grad_weight`], in elements.
pub fn grad_weight_workspace_len(cpu: &Cpu, tile: Tile, p: &Conv2dParams) -> usize {
    with_tile!(tile, |P, m| {
        P::grad_weight_workspace_len(cpu, &Geometry::forward(p, m, GRAD_WEIGHT_TILES, cpu.isa.lanes()))
    })
}

#[cfg(test)]
mod tests;
