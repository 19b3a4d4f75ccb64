//! The weight in the frequency domain.

use super::columns::load_channels;
use super::gemm::packed_index;
use super::geometry::skewed;
use super::transform::{Transform, weight};
use crate::conv2d::Conv2dParams;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use std::marker::PhantomData;

/// `G w G^T` for all channels, packed for [`multiply`](super::gemm::multiply): `u[i N + j]` is the packed `[depth x columns]` matrix.
pub(super) struct WeightTask<'a, T, const N: usize, const M: usize, const R: usize> {
    pub(super) p: &'a Conv2dParams,
    pub(super) w: &'a [f32],
    /// Flip the taps and swap the channels, for the input gradient.
    pub(super) adjoint: bool,
    pub(super) c: usize,
    pub(super) out: SharedSlice<'a, f32>,
    pub(super) transform: PhantomData<T>,
}

/// Elements of all frequencies of the transformed weight with `depth` input channels.
pub(super) const fn weight_len(n: usize, depth: usize, k_padded: usize) -> usize {
    n * n * skewed(depth * k_padded)
}

impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for WeightTask<'_, T, N, M, R> {
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
