//! Passes that compute every element in the same way, with coefficients per channel.

use super::{Columns, Images};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use crate::{Cpu, Write};
use std::ops::Range;

/// Number of columns whose coefficients a task holds at a time, and the largest width of a wide row of several rows.
pub(crate) const TILE: usize = 512;

/// A function of the same lane of `N` operands and of `K` coefficients of the lane's channel. Methods must be
/// `#[inline(always)]`.
pub(crate) trait Channelwise<const N: usize, const K: usize>: Sync {
    /// Writes the coefficients of `channels`, one slice per coefficient, each as long as the range.
    fn coefficients(&self, channels: Range<usize>, out: [&mut [f32]; K]);
    /// The function.
    fn eval<S: Simd>(&self, s: S, inputs: [S::F32; N], coefficients: [S::F32; K]) -> S::F32;
}

impl<const N: usize, const K: usize, F: Channelwise<N, K>> Channelwise<N, K> for &F {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, out: [&mut [f32]; K]) {
        F::coefficients(self, channels, out);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, inputs: [S::F32; N], coefficients: [S::F32; K]) -> S::F32 {
        F::eval(self, s, inputs, coefficients)
    }
}

/// `out (+)= f(inputs, coefficients of the channel)` for every element of `[rows, channels]` operands. An input that is
/// `None` is the old value of `out`.
pub(crate) fn map_channels<const N: usize, const K: usize, F: Channelwise<N, K>>(
    cpu: &Cpu,
    columns: Columns,
    f: &F,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    map_images(cpu, Images { count: 1, columns }, |_| f, inputs, out, write);
}

/// As [`map_channels`], for `[images, rows, channels]` operands, with a function for each image.
pub(crate) fn map_images<const N: usize, const K: usize, F: Channelwise<N, K>>(
    cpu: &Cpu,
    images: Images,
    f: impl Fn(usize) -> F + Sync,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    assert_eq!(out.len(), images.len());
    assert!(inputs.iter().flatten().all(|input| input.len() == images.len()), "operands of unequal length");
    let shared = SharedSlice::new(out);
    images.for_each_part(&cpu.pool, |part| {
        let range = part.values;
        // SAFETY: parts do not overlap.
        let out = unsafe { shared.slice(range.start, range.len()) };
        let inputs = inputs.map(|input| input.map(|x| &x[range.clone()]));
        cpu.isa.dispatch(Strip { f: &f(part.image), columns: images.columns, inputs, out, write });
    });
}

/// One part of [`map_images`].
struct Strip<'a, F, const N: usize, const K: usize> {
    f: &'a F,
    columns: Columns,
    inputs: [Option<&'a [f32]>; N],
    out: &'a mut [f32],
    write: Write,
}

impl<const N: usize, const K: usize, F: Channelwise<N, K>> Strip<'_, F, N, K> {
    /// Computes `count` lanes of one vector in each of `R` rows, the first at element `start`. Coefficients are loaded
    /// once for all rows.
    ///
    /// # Safety
    /// The elements must be inside every operand. An input must be `out` or not overlap it. LANES coefficients must be
    /// readable at `column` of each slice.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const R: usize>(
        &self,
        s: S,
        (inputs, out): ([*const f32; N], *mut f32),
        coefficients: &[[f32; TILE]; K],
        column: usize,
        start: usize,
        count: usize,
    ) {
        let mut k_values = [s.splat(0.0); K];
        for (value, coefficient) in k_values.iter_mut().zip(coefficients) {
            // SAFETY: the caller's duty.
            *value = unsafe { s.load(coefficient.as_ptr().add(column)) };
        }
        for row in 0..R {
            let i = start + row * self.columns.width() + column;
            let mut values = [s.splat(0.0); N];
            // SAFETY: the caller's duty; elements of an input that is `out` are read before they are written.
            unsafe {
                for (value, input) in values.iter_mut().zip(inputs) {
                    *value = s.load_first(input.add(i), count);
                }
                let mut y = self.f.eval(s, values, k_values);
                if self.write == Write::Add {
                    y = s.add(s.load_first(out.add(i), count), y);
                }
                s.store_first(out.add(i), y, count);
            }
        }
    }
}

impl<const N: usize, const K: usize, F: Channelwise<N, K>> Kernel for Strip<'_, F, N, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const ROWS: usize = 4;
        let (len, width, channels) = (self.out.len(), self.columns.width(), self.columns.channels);
        let out = self.out.as_mut_ptr();
        let mut inputs = [out.cast_const(); N];
        for (pointer, input) in inputs.iter_mut().zip(self.inputs) {
            if let Some(input) = input {
                assert_eq!(input.len(), len);
                *pointer = input.as_ptr();
            }
        }
        let mut coefficients = [[0.0; TILE]; K];
        for left in (0..width).step_by(TILE) {
            let tile = TILE.min(width - left);
            // A wide row of several rows is one tile, and repeats its channels.
            let distinct = tile.min(channels - left);
            self.f.coefficients(left..left + distinct, coefficients.each_mut().map(|k| &mut k[..distinct]));
            for coefficient in &mut coefficients {
                for column in distinct..tile {
                    coefficient[column] = coefficient[column - distinct];
                }
            }
            let full = tile / S::LANES * S::LANES;
            let mut row = 0;
            while row < len {
                let start = row + left;
                let rows = if row + ROWS * width <= len { ROWS } else { 1 };
                // Only the last wide row can be cut short.
                let end = tile.min(len - start);
                let mut column = 0;
                while column < end {
                    let count = S::LANES.min(end - column);
                    // SAFETY: rows `row..row + rows` have `end` columns each in this tile, inside every operand.
                    // Coefficients are loaded from a multiple of LANES below TILE, which is a multiple of LANES.
                    unsafe {
                        if rows == ROWS && column < full {
                            self.vectors::<S, ROWS>(s, (inputs, out), &coefficients, column, start, S::LANES);
                        } else if rows == ROWS {
                            self.vectors::<S, ROWS>(s, (inputs, out), &coefficients, column, start, count);
                        } else {
                            self.vectors::<S, 1>(s, (inputs, out), &coefficients, column, start, count);
                        }
                    }
                    column += count;
                }
                row += rows * width;
            }
        }
    }
}
