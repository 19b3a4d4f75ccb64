//! The weight in the frequency domain.

use super::columns::load_channels;
use super::gemm::packed_index;
use super::geometry::{Geometry, part_taps, skewed};
use super::transform::{Transform, weight};
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use std::marker::PhantomData;

/// `G w G^T` of every part of the kernel for one channel of the pass's input, packed for
/// [`multiply`](super::gemm::multiply): `u[i N + j]` is the packed `[part depth x columns]` matrix.
pub(super) struct WeightTask<'a, T, const N: usize, const M: usize, const R: usize> {
    pub(super) p: &'a Conv2dParams,
    pub(super) g: &'a Geometry,
    pub(super) w: &'a [f32],
    /// For the adjoint, taps are flipped and channels swapped.
    pub(super) direction: Direction,
    pub(super) channel: usize,
    pub(super) out: SharedSlice<'a, f32>,
    pub(super) transform: PhantomData<T>,
}

/// Elements of all frequencies of the transformed weight.
pub(super) fn weight_len(n: usize, g: &Geometry) -> usize {
    n * n * skewed(g.depth() * g.k_padded())
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for WeightTask<'_, T, N, M, R> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let WeightTask { p, g, channel, .. } = self;
        let stride = skewed(g.depth() * g.k_padded());
        for part in 0..g.parts[0] * g.parts[1] {
            let rows = part_taps(p.r, M, g.parts[0], part / g.parts[1]);
            let columns = part_taps(p.s, M, g.parts[1], part % g.parts[1]);
            for v in 0..g.k_vectors {
                let mut taps = [[s.splat(0.0); R]; R];
                for (i, row) in rows.clone().enumerate() {
                    for (j, column) in columns.clone().enumerate() {
                        taps[i][j] = self.load(s, row, column, v);
                    }
                }
                let u = weight::<S, T, N, M, R>(s, taps);
                let row = part * g.c + channel;
                let index = packed_index(row, v * S::LANES, g.depth(), g.k_vectors, S::LANES);
                for (f, u) in u.as_flattened().iter().enumerate() {
                    // SAFETY: this task alone writes the channel's rows, of which this is a whole vector.
                    unsafe {
                        let out = self.out.slice(f * stride + index, S::LANES);
                        s.store(out.as_mut_ptr(), *u);
                    }
                }
            }
        }
    }
}

impl<T, const N: usize, const M: usize, const R: usize> WeightTask<'_, T, N, M, R> {
    /// Vector `v` of the pass's output channels of a tap.
    #[inline(always)]
    fn load<S: Simd>(&self, s: S, row: usize, column: usize, v: usize) -> S::F32 {
        let p = self.p;
        if self.direction == Direction::Forward {
            let w = &self.w[((row * p.s + column) * p.c + self.channel) * p.k..][..p.k];
            // SAFETY: the row has `k` values.
            return unsafe { load_channels(s, w.as_ptr(), v, p.k) };
        }
        let (row, column) = (p.r - 1 - row, p.s - 1 - column);
        let first = v * S::LANES;
        let w = &self.w[((row * p.s + column) * p.c + first) * p.k..];
        let mut lanes = [0.0; 16];
        for (lane, w) in lanes[..S::LANES.min(p.c - first)].iter_mut().zip(w.chunks_exact(p.k)) {
            *lane = w[self.channel];
        }
        // SAFETY: 16 values hold the widest vector.
        unsafe { s.load(lanes.as_ptr()) }
    }
}
