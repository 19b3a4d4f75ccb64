//! The weight gradient: sums over the blocks of a share, and over the shares.

use super::columns::{input_columns, input_tiles, output_columns};
use super::gemm::{Matrix, Stream, accumulate, steps};
use super::geometry::{Geometry, Scratch, part_taps, skewed};
use super::transform::{Transform, weight_adjoint};
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::params::Conv2dParams;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};
use std::marker::PhantomData;

/// Tiles that are summed before they are added to a share's accumulator. The first of them are summed there.
pub(super) const FLUSH_TILES: usize = 128;

/// Weight gradient of a share of the blocks, in the frequency domain: `acc[i N + j][part][c][k]`, set.
pub(super) struct GradWeightTask<'a, T, const N: usize, const M: usize, const R: usize> {
    pub(super) g: &'a Geometry,
    pub(super) blocks: std::ops::Range<usize>,
    pub(super) x: Mapped<&'a [f32]>,
    pub(super) dy: Mapped<&'a [f32]>,
    pub(super) acc: &'a mut [f32],
    pub(super) scratch: Scratch<'a>,
    pub(super) transform: PhantomData<T>,
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for GradWeightTask<'_, T, N, M, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GradWeightTask { g, blocks, x, dy, acc: total, scratch, .. } = self;
        let (c, k) = (g.c_padded(), g.k_padded());
        let sum_stride = skewed(g.c * k);
        let parts = g.parts[0] * g.parts[1];
        let sum = &mut scratch.rest[..N * N * parts * sum_stride];
        assert_eq!(total.len(), sum.len());
        if blocks.is_empty() {
            total.fill(0.0);
        }
        let (mut summed, mut is_first) = (0, true);
        let last = blocks.end;
        for index in blocks {
            let b = g.block(index);
            let (tiles, width) = (b.rows * b.cols, M * b.cols);
            let [in_rows, in_cols] = g.in_tiles(&b);
            let in_stride = skewed(in_rows * (M * in_cols + R - 1) * c);
            let out_stride = skewed(b.rows * width * k);
            let (v_stride, z_stride) = (skewed(in_rows * in_cols * c), skewed(tiles * k));
            // A row of tiles is contiguous, and all of them are if there are no others between.
            let depth = if in_cols == b.cols { [1, tiles] } else { [b.rows, b.cols] };
            // Fetched on the way: what the next block reads.
            let (next_x, next_dy) = if index + 1 < last {
                (g.new_input(index + 1, N, M), g.output(&g.block(index + 1), M))
            } else {
                (0..0, 0..0)
            };
            let (products, steps) = (N * N * parts, steps::<S>(g.c, tiles, g.k_vectors));
            let streams = [
                Stream::new(x.values.as_ptr(), &next_x, products, steps),
                Stream::new(dy.values.as_ptr(), &next_dy, products, steps),
            ];
            input_columns::<S, T, N, M, R>(s, g, &b, x, scratch.zeros, scratch.in_columns, in_stride);
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
                    let left = &scratch.in_tiles[j * v_stride..][..in_rows * in_cols * c];
                    let right = &scratch.out_tiles[j * z_stride..][..tiles * k];
                    for part in 0..parts {
                        let first = (part / g.parts[1] * in_cols + part % g.parts[1]) * c;
                        let out = if is_first { &mut *total } else { &mut *sum };
                        let out = &mut out[((i * N + j) * parts + part) * sum_stride..][..g.c * k];
                        let left = Matrix { ptr: left[first..].as_ptr(), stride: c };
                        let right = Matrix { ptr: right.as_ptr(), stride: k };
                        let out = Matrix { ptr: out.as_mut_ptr(), stride: k };
                        let outer = [in_cols * c, b.cols * k];
                        let product = (i * N + j) * parts + part;
                        let prefetch = streams.map(
                            #[inline(always)]
                            |stream| stream.piece(product),
                        );
                        // SAFETY: the slices above have the lengths that the call needs: the last part's tiles end with
                        // the last of the input tiles.
                        unsafe {
                            accumulate(s, left, right, outer, out, summed == 0, depth, [g.c, g.k_vectors], prefetch)
                        };
                    }
                }
            }
            summed += tiles;
            if summed >= FLUSH_TILES || index + 1 == last {
                if !is_first {
                    total.iter_mut().zip(&*sum).for_each(|(total, sum)| *total += *sum);
                }
                (summed, is_first) = (0, false);
            }
        }
    }
}

/// `dw (+)= G^T [sum of the shares' accumulators] G` for one input channel.
pub(super) struct ReduceTask<'a, T, const N: usize, const M: usize, const R: usize> {
    pub(super) p: &'a Conv2dParams,
    pub(super) g: &'a Geometry,
    pub(super) c: usize,
    pub(super) acc: &'a [f32],
    pub(super) dw: SharedSlice<'a, f32>,
    pub(super) write: Write,
    pub(super) transform: PhantomData<T>,
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for ReduceTask<'_, T, N, M, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ReduceTask { p, g, c, acc, dw, write, .. } = self;
        let k = g.k_padded();
        let stride = skewed(g.c * k);
        let parts = g.parts[0] * g.parts[1];
        for (part, v) in (0..parts).flat_map(|part| (0..g.k_vectors).map(move |v| (part, v))) {
            let start = v * S::LANES;
            let count = S::LANES.min(g.k - start);
            let mut sums = [[s.splat(0.0); N]; N];
            for share in acc.chunks_exact(N * N * parts * stride) {
                for (f, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                    let row = &share[(f * parts + part) * stride + c * k + start..][..S::LANES];
                    // SAFETY: the row has LANES values.
                    *sum = s.add(*sum, unsafe { s.load(row.as_ptr()) });
                }
            }
            let taps = weight_adjoint::<S, T, N, M, R>(s, sums);
            let rows = part_taps(p.r, M, g.parts[0], part / g.parts[1]);
            let columns = part_taps(p.s, M, g.parts[1], part % g.parts[1]);
            for (i, value) in taps.as_flattened().iter().enumerate() {
                let (row, column) = (rows.start + i / R, columns.start + i % R);
                if row >= rows.end || column >= columns.end {
                    continue;
                }
                // SAFETY: this task alone writes channel `c`.
                let out = unsafe { dw.slice(((row * p.s + column) * g.c + c) * g.k + start, count) };
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
