//! SIMD implementation of the [module documentation](super)'s equations: lanes are channels.

use super::params::{PoolParams, Pooling};
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// The pooled image. A task has some rows of the output.
pub(super) fn forward(cpu: &Cpu, p: &PoolParams, x: &[f32], y: &mut [f32]) {
    let row_len = p.output[1] * p.c;
    for_rows(cpu, y, row_len, row_len, |rows, y| {
        for (row, y) in rows.zip(y.chunks_exact_mut(row_len)) {
            let (n, row_of_image) = (row / p.output[0], row % p.output[0]);
            let x = &x[n * p.input_len()..][..p.input_len()];
            cpu.isa.dispatch(ForwardRow { p, x, y, row: row_of_image });
        }
    });
}

/// Its gradient. A task has whole images, as windows may overlap.
pub(super) fn backward(cpu: &Cpu, p: &PoolParams, [x, dy]: [&[f32]; 2], dx: &mut [f32], write: Write) {
    for_rows(cpu, dx, p.input_len(), p.input_len(), |images, dx| {
        for (n, dx) in images.zip(dx.chunks_exact_mut(p.input_len())) {
            // An average has no need of `x`.
            let x = if x.is_empty() { x } else { &x[n * p.input_len()..][..p.input_len()] };
            let dy = &dy[n * p.output_len()..][..p.output_len()];
            if write == Write::Set {
                dx.fill(0.0);
            }
            cpu.isa.dispatch(BackwardImage { p, x, dy, dx });
        }
    });
}

/// A row of the output, from an image.
struct ForwardRow<'a> {
    p: &'a PoolParams,
    x: &'a [f32],
    y: &'a mut [f32],
    row: usize,
}

impl Kernel for ForwardRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardRow { p, x, y, row } = self;
        assert!(x.len() == p.input_len() && y.len() == p.output[1] * p.c);
        for (column, y) in y.chunks_exact_mut(p.c).enumerate() {
            let window = Window::new(p, row, column);
            let share = 1.0 / p.divisor(window.pixels()) as f32;
            for_each_vector(s, p.c, |c, count| {
                // SAFETY: the window is inside the image, and `count` channels from `c` on are inside every pixel.
                unsafe {
                    let value = match p.pooling {
                        Pooling::Max => largest(s, &window, x, c, count)[0],
                        Pooling::Average | Pooling::AverageInside => {
                            let mut sum = s.splat(0.0);
                            window.for_each(|_, pixel| sum = s.add(sum, s.load_first(x[pixel + c..].as_ptr(), count)));
                            s.mul(sum, s.splat(share))
                        }
                    };
                    s.store_first(y[c..].as_mut_ptr(), value, count);
                }
            });
        }
    }
}

/// The gradient of an image.
struct BackwardImage<'a> {
    p: &'a PoolParams,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for BackwardImage<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BackwardImage { p, x, dy, dx } = self;
        assert!(dx.len() == p.input_len() && dy.len() == p.output_len());
        assert!(p.pooling != Pooling::Max || x.len() == p.input_len());
        for (i, dy) in dy.chunks_exact(p.c).enumerate() {
            let window = Window::new(p, i / p.output[1], i % p.output[1]);
            let share = s.splat(1.0 / p.divisor(window.pixels()) as f32);
            for_each_vector(s, p.c, |c, count| {
                // SAFETY: the window is inside the image, and `count` channels from `c` on are inside every pixel.
                unsafe {
                    let dy = s.mul(s.load_first(dy[c..].as_ptr(), count), share);
                    let mut add = |pixel: usize, value: S::F32| {
                        let to = dx[pixel + c..].as_mut_ptr();
                        s.store_first(to, s.add(s.load_first(to, count), value), count);
                    };
                    if p.pooling != Pooling::Max {
                        window.for_each(|_, pixel| add(pixel, dy));
                        return;
                    }
                    let (best, zero) = (largest(s, &window, x, c, count)[1], s.splat(0.0));
                    window.for_each(|tap, pixel| {
                        let tap = s.splat(tap);
                        let not_less = s.select(s.less(best, tap), zero, dy);
                        add(pixel, s.select(s.less(tap, best), zero, not_less));
                    });
                }
            });
        }
    }
}

/// The part of a window inside the image.
struct Window {
    /// Offset of its first pixel in the image, and of each row after the row before it.
    begin: usize,
    row: usize,
    rows: usize,
    columns: usize,
    channels: usize,
}

impl Window {
    #[inline(always)]
    fn new(p: &PoolParams, row: usize, column: usize) -> Window {
        let (rows, columns, row) = (p.window(0, row), p.window(1, column), p.input[1] * p.c);
        Window {
            begin: rows.start * row + columns.start * p.c,
            row,
            rows: rows.len(),
            columns: columns.len(),
            channels: p.c,
        }
    }

    #[inline(always)]
    fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Calls `f` with the number of every pixel, from 0, and its offset in the image.
    #[inline(always)]
    fn for_each(&self, mut f: impl FnMut(f32, usize)) {
        let mut number = 0.0;
        for row in 0..self.rows {
            for column in 0..self.columns {
                f(number, self.begin + row * self.row + column * self.channels);
                number += 1.0;
            }
        }
    }
}

/// Largest values of a window, and the numbers of their pixels.
///
/// # Safety
/// The window is inside `x`, and `count` channels from `c` on are inside every pixel.
#[inline(always)]
unsafe fn largest<S: Simd>(s: S, window: &Window, x: &[f32], c: usize, count: usize) -> [S::F32; 2] {
    let (mut best, mut number_of_best) = (s.splat(f32::NEG_INFINITY), s.splat(0.0));
    window.for_each(|number, pixel| {
        // SAFETY: the caller's promise.
        let value = unsafe { s.load_first(x[pixel + c..].as_ptr(), count) };
        let number = s.splat(number);
        let larger = s.less(best, value);
        let is_number = s.is_number(value);
        number_of_best = s.select(is_number, s.select(larger, number, number_of_best), number);
        best = s.select(is_number, s.select(larger, value, best), value);
    });
    [best, number_of_best]
}

/// Calls `f` with the first channel and the number of channels of every vector of a pixel.
#[inline(always)]
fn for_each_vector<S: Simd>(_: S, channels: usize, mut f: impl FnMut(usize, usize)) {
    let mut c = 0;
    while c < channels {
        f(c, S::LANES.min(channels - c));
        c += S::LANES;
    }
}
