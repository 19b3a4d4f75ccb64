//! The forward pass of one block; with flipped taps, the input gradient's.

use super::columns::{input_columns, input_tiles, load_channels};
use super::gemm::{Matrix, Prefetch, Stream, is_one_panel, multiply, steps};
use super::geometry::{Block, Geometry, Scratch, skewed};
use super::transform::Transform;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::operands::{Then, Touched};
use crate::ops::conv2d::tile::MAX_PARTS;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};
use std::marker::PhantomData;

/// Forward pass of one block.
pub(super) struct ForwardTask<'a, T, const N: usize, const M: usize, const R: usize> {
    pub(super) g: &'a Geometry,
    /// Index of the block.
    pub(super) index: usize,
    pub(super) x: Mapped<&'a [f32]>,
    pub(super) u: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) y: SharedSlice<'a, f32>,
    pub(super) write: Write,
    pub(super) then: Option<Then<'a>>,
    pub(super) scratch: Scratch<'a>,
    pub(super) transform: PhantomData<T>,
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for ForwardTask<'_, T, N, M, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardTask { g, index, x, u, bias, y, write, then, scratch, .. } = self;
        let b = g.block(index);
        let (c, k) = (g.c_padded(), g.k_padded());
        let (tiles, width) = (b.rows * b.cols, M * b.cols);
        let [in_rows, in_cols] = g.in_tiles(&b);
        // The columns of the output take the place of those of the input, one vertical frequency after another: what is
        // written there has just been read, and is in the first-level cache.
        let stride = skewed((in_rows * (M * in_cols + R - 1) * c).max(b.rows * width * k));
        let (v_stride, m_stride) = (skewed(in_rows * in_cols * c), skewed(tiles * k));
        let u_stride = skewed(g.depth() * k);
        // Where the tiles that meet each part of the kernel are, from those that meet the first.
        let mut offsets = [0; MAX_PARTS * MAX_PARTS];
        let offsets = &mut offsets[..g.parts[0] * g.parts[1]];
        for (part, offset) in offsets.iter_mut().enumerate() {
            *offset = (part / g.parts[1] * in_cols + part % g.parts[1]) * c;
        }
        // A row of tiles is contiguous, and all of them are if there are no others between.
        let runs = if in_cols == b.cols { 1 } else { b.rows };
        let run = tiles / runs;
        let steps = steps::<S>(run, g.depth(), g.k_vectors);
        let mut streams = Streams::new(g, index, [N, M], x.values, y, then, [N * N * runs, steps]);
        let (v_len, m_len) = ((N - 1) * v_stride + in_rows * in_cols * c, (N - 1) * m_stride + tiles * k);
        assert!(scratch.in_tiles.len() >= v_len && scratch.out_tiles.len() >= m_len);
        // A product overwrites its left operand if that is not read again: what is written is in the first-level cache
        // then, and there are fewer bytes that do not fit there. Otherwise, stores take several times as long.
        let in_place = c == k && is_one_panel(g.k_vectors) && g.parts == [1; 2];
        input_columns::<S, T, N, M, R>(s, g, &b, x, scratch.zeros, scratch.in_columns, stride);
        for i in 0..N {
            input_tiles::<S, T, N, M, R>(s, g, &b, &scratch.in_columns[i * stride..], scratch.in_tiles);
            let in_tiles = scratch.in_tiles.as_mut_ptr();
            let out_tiles = if in_place { in_tiles } else { scratch.out_tiles.as_mut_ptr() };
            for j in 0..N {
                let right = &u[(i * N + j) * u_stride..][..g.depth() * k];
                for row in 0..runs {
                    // SAFETY: `row` is one of the rows of tiles, whose lengths are asserted.
                    let (left, out) = unsafe {
                        (in_tiles.add(j * v_stride + row * in_cols * c), out_tiles.add(j * m_stride + row * run * k))
                    };
                    let left = Matrix { ptr: left.cast_const(), stride: c };
                    let out = Matrix { ptr: out, stride: k };
                    let prefetch = streams.next();
                    // SAFETY: the matrices have the lengths that the call needs: the last part's tiles end with the
                    // last of the input tiles. They are disjoint, or the same if `multiply` allows that.
                    unsafe { multiply(s, left, offsets, right.as_ptr(), out, [run, g.c, g.k_vectors], prefetch) };
                }
            }
            let out = &mut scratch.in_columns[i * stride..][..b.rows * width * k];
            for tile in 0..tiles {
                for v in (0..k).step_by(S::LANES) {
                    let mut m = [s.splat(0.0); N];
                    for (j, m) in m.iter_mut().enumerate() {
                        // SAFETY: `multiply` wrote `tiles x k` values of each frequency.
                        *m = unsafe { s.load(out_tiles.add(j * m_stride + tile * k + v)) };
                    }
                    for (j, m) in T::output(s, m).into_iter().enumerate() {
                        // SAFETY: `(tile M + j) k + v + LANES` is at most `rows width k`.
                        unsafe { s.store(out.as_mut_ptr().add((tile * M + j) * k + v), m) };
                    }
                }
            }
        }
        let output = Output { g, index, bias, y, write, then, frequencies: scratch.in_columns, stride };
        output.store::<S, T, N, M, R>(s, &b);
    }
}

/// Most pairs of streams.
const MAX_TURNS: usize = 3;

/// What is fetched on the way: what the next block reads, and what this one reads and writes at its end.
struct Streams {
    /// Products fetch a pair each, in turns.
    turns: [[Stream; 2]; MAX_TURNS],
    count: usize,
    turn: usize,
    /// How often all had their turn.
    round: usize,
}

impl Streams {
    fn new(
        g: &Geometry,
        index: usize,
        [n, m]: [usize; 2],
        x: &[f32],
        y: SharedSlice<'_, f32>,
        then: Option<Then<'_>>,
        [products, steps]: [usize; 2],
    ) -> Streams {
        let touches = then.map_or(&[][..], |then| then.touches);
        let others = || touches.iter().filter_map(Touched::start);
        let count = (2 + others().count()).div_ceil(2);
        assert!(count <= MAX_TURNS, "too many operands");
        let (input, output) = (g.new_input(index + 1, n, m), g.output(&g.block(index), m));
        let stream = |values, range| Stream::new(values, range, products.div_ceil(count), steps);
        let y = y.as_mut_ptr().cast_const();
        // One that is absent is nothing of `y`.
        let mut turns = [[stream(y, &(0..0)); 2]; MAX_TURNS];
        turns[0] = [stream(x.as_ptr(), &input), stream(y, &output)];
        for (i, values) in others().enumerate() {
            turns[1 + i / 2][i % 2] = stream(values, &output);
        }
        Streams { turns, count, turn: 0, round: 0 }
    }

    /// What the next product fetches.
    #[inline(always)]
    fn next(&mut self) -> [Prefetch; 2] {
        let [first, second] = self.turns[self.turn];
        let prefetch = [first.piece(self.round), second.piece(self.round)];
        self.turn += 1;
        if self.turn == self.count {
            (self.turn, self.round) = (0, self.round + 1);
        }
        prefetch
    }
}

/// What stores the pixels of a block. The frequencies are those of that block, and no other block has its pixels: only
/// [`ForwardTask`] makes one.
struct Output<'a> {
    g: &'a Geometry,
    index: usize,
    bias: &'a [f32],
    y: SharedSlice<'a, f32>,
    write: Write,
    then: Option<Then<'a>>,
    /// Vertical frequencies of the block's columns, one `stride` elements behind the other.
    frequencies: &'a [f32],
    stride: usize,
}

impl Output<'_> {
    /// Stores the vertical inverse transform of every column, and adds the bias.
    #[inline(always)]
    fn store<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(self, s: S, b: &Block) {
        let Output { g, index, bias, y, write, then, frequencies, stride } = self;
        let (k, width) = (g.k_padded(), M * b.cols);
        for row in 0..b.rows {
            let (image, tile) = g.tile_row(b, row);
            let height = M.min(g.p - tile * M);
            let columns = width.min(g.q - b.col * M);
            let start = ((image * g.p + tile * M) * g.q + b.col * M) * g.k;
            let mut rows: [*mut f32; M] = [std::ptr::null_mut(); M];
            for (m, out) in rows.iter_mut().enumerate().take(height) {
                // SAFETY: no other block stores these pixels.
                *out = unsafe { y.slice(start + m * g.q * g.k, columns * g.k) }.as_mut_ptr();
            }
            let from = frequencies[row * width * k..].as_ptr();
            for column in 0..columns {
                for v in 0..g.k_vectors {
                    let mut f = [s.splat(0.0); N];
                    for (i, f) in f.iter_mut().enumerate() {
                        // SAFETY: there are `N` frequencies of `b.rows` rows of `width` padded pixels.
                        *f = unsafe { s.load(from.add(i * stride + column * k + v * S::LANES)) };
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
            let Some(then) = then else { continue };
            // Rows of pixels are contiguous if the block has all of their columns.
            let (runs, len) = if columns == g.q { (1, height * columns * g.k) } else { (height, columns * g.k) };
            for run in 0..runs {
                let start = start + run * g.q * g.k;
                // SAFETY: no other block stores these pixels, and the pointers to them are not used again.
                (then.run)(index, start, unsafe { y.slice(start, len) });
            }
        }
    }
}
