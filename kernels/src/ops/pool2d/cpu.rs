//! SIMD implementation of the [module documentation](super)'s equations: lanes are channels.
//!
//! Channels that do not fill a vector are loaded with those of the next pixel behind them. Where pixels are written one
//! after the other, they are stored so, too: the next pixel then overwrites what is not its own. A vector of which some
//! lanes are masked takes several times as long to store.

use super::params::{PoolParams, Pooling};
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// Computes `$value` with `$size` standing for the rows and columns of a window. It is compiled once for each of the
/// usual windows, whose loops the compiler unrolls, and once for all others.
macro_rules! by_size {
    ($of:expr, |$size:ident| $value:expr) => {
        match $of {
            [2, 2] => {
                let $size = [2, 2];
                $value
            }
            [3, 3] => {
                let $size = [3, 3];
                $value
            }
            $size => $value,
        }
    };
}

/// The pooled image. A task has some rows of the output.
pub(super) fn forward(cpu: &Cpu, p: &PoolParams, x: &[f32], y: &mut [f32]) {
    let row_len = p.output[1] * p.c;
    for_rows(cpu, y, row_len, row_len, |rows, y| {
        cpu.isa.dispatch(ForwardRows { p, x, y, first: rows.start });
    });
}

/// Its gradient. A task has whole images, as windows may overlap.
pub(super) fn backward(cpu: &Cpu, p: &PoolParams, [x, dy]: [&[f32]; 2], dx: &mut [f32], write: Write) {
    let is_tiling = write == Write::Set && p.is_tiling();
    for_rows(cpu, dx, p.input_len(), p.input_len(), |images, dx| {
        for (n, dx) in images.zip(dx.chunks_exact_mut(p.input_len())) {
            // An average has no need of `x`.
            let x = if x.is_empty() { x } else { &x[n * p.input_len()..][..p.input_len()] };
            let dy = &dy[n * p.output_len()..][..p.output_len()];
            if is_tiling {
                cpu.isa.dispatch(BackwardImage::<true> { p, x, dy, dx });
                continue;
            }
            if write == Write::Set {
                dx.fill(0.0);
            }
            cpu.isa.dispatch(BackwardImage::<false> { p, x, dy, dx });
        }
    });
}

/// Rows of the output.
struct ForwardRows<'a> {
    p: &'a PoolParams,
    /// All images.
    x: &'a [f32],
    y: &'a mut [f32],
    /// The first row, counted through all images.
    first: usize,
}

impl Kernel for ForwardRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardRows { p, x, y, first } = self;
        let end = y.len();
        for (i, row_begin) in (0..end).step_by(p.output[1] * p.c).enumerate() {
            let [image, row] = [(first + i) / p.output[0], (first + i) % p.output[0]];
            for column in 0..p.output[1] {
                let window = Window::new(p, image, [row, column]);
                let share = s.splat(1.0 / p.divisor(window.pixels()) as f32);
                let mut c = 0;
                while c < p.c {
                    let value = by_size!(window.size, |size| match p.pooling {
                        Pooling::Max => largest(s, &window, size, x, c),
                        Pooling::Average | Pooling::AverageInside => s.mul(sum(s, &window, size, x, c), share),
                    });
                    store(s, y, row_begin + column * p.c + c, end, value);
                    c += S::LANES;
                }
            }
        }
    }
}

/// The gradient of an image. `TILING` if each of its pixels is in one window, which sets its gradient.
struct BackwardImage<'a, const TILING: bool> {
    p: &'a PoolParams,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl<const TILING: bool> Kernel for BackwardImage<'_, TILING> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BackwardImage { p, x, dy, dx } = self;
        assert!(p.pooling != Pooling::Max || x.len() == dx.len());
        for (row, dy) in dy.chunks_exact(p.output[1] * p.c).enumerate() {
            for column in 0..p.output[1] {
                let window = Window::new(p, 0, [row, column]);
                let share = s.splat(1.0 / p.divisor(window.pixels()) as f32);
                let mut c = 0;
                while c < p.c {
                    let value = s.mul(load(s, dy, column * p.c + c), share);
                    by_size!(window.size, |size| window.spread::<S, TILING>(s, p, size, x, value, c, dx));
                    c += S::LANES;
                }
            }
        }
    }
}

/// The part of a window inside the image.
struct Window {
    /// Offset of its first pixel among all images, and of each row after the row before it.
    begin: usize,
    row: usize,
    /// Where the first row of the image that it is in ends.
    row_end: usize,
    /// Its rows and columns.
    size: [usize; 2],
    channels: usize,
}

impl Window {
    /// That of an output pixel in a row and a column.
    #[inline(always)]
    fn new(p: &PoolParams, image: usize, [row, column]: [usize; 2]) -> Window {
        let (rows, columns, row) = (p.window(0, row), p.window(1, column), p.input[1] * p.c);
        let begin = image * p.input_len() + rows.start * row;
        Window {
            begin: begin + columns.start * p.c,
            row_end: begin + row,
            row,
            size: [rows.len(), columns.len()],
            channels: p.c,
        }
    }

    #[inline(always)]
    fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    #[inline(always)]
    fn pixel(&self, row: usize, column: usize) -> usize {
        self.begin + row * self.row + column * self.channels
    }

    /// Gives the pixels their shares of the gradient, for the vector of channels from `c` on.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn spread<S: Simd, const TILING: bool>(
        &self,
        s: S,
        p: &PoolParams,
        [rows, columns]: [usize; 2],
        x: &[f32],
        dy: S::F32,
        c: usize,
        dx: &mut [f32],
    ) {
        let is_max = p.pooling == Pooling::Max;
        let best = if is_max { first_largest(s, self, [rows, columns], x, c) } else { s.splat(0.0) };
        let (mut rest, zero, mut number) = (dy, s.splat(0.0), 0.0);
        let count = S::LANES.min(p.c - c);
        for row in 0..rows {
            // Vectors behind a pixel's first are not in the order of the pixels.
            let row_end = if p.c <= S::LANES { self.row_end + row * self.row } else { 0 };
            for column in 0..columns {
                let mut value = rest;
                if is_max {
                    // The pixel of that number has the gradient, and none is left for those behind it.
                    let is_reached = s.less(best, s.splat(number + 0.5));
                    value = s.select(is_reached, rest, zero);
                    rest = s.select(is_reached, zero, rest);
                    number += 1.0;
                }
                let to = self.pixel(row, column) + c;
                if TILING {
                    store(s, dx, to, row_end.max(to + count), value);
                } else {
                    add(s, &mut dx[to..to + count], value);
                }
            }
        }
    }
}

/// Sums of a window, of the vector of channels from `c` on.
#[inline(always)]
fn sum<S: Simd>(s: S, window: &Window, [rows, columns]: [usize; 2], x: &[f32], c: usize) -> S::F32 {
    let mut sum = s.splat(0.0);
    for row in 0..rows {
        for column in 0..columns {
            sum = s.add(sum, load(s, x, window.pixel(row, column) + c));
        }
    }
    sum
}

/// Largest values of a window.
#[inline(always)]
fn largest<S: Simd>(s: S, window: &Window, [rows, columns]: [usize; 2], x: &[f32], c: usize) -> S::F32 {
    let mut best = s.splat(f32::NEG_INFINITY);
    for row in 0..rows {
        for column in 0..columns {
            let value = load(s, x, window.pixel(row, column) + c);
            // Of a NaN and a number, and of equal values, `max` takes the second.
            best = s.select(s.is_number(value), s.max(value, best), value);
        }
    }
    best
}

/// Numbers of the pixels with the largest values of a window: the first of these, or the last NaN.
#[inline(always)]
fn first_largest<S: Simd>(s: S, window: &Window, [rows, columns]: [usize; 2], x: &[f32], c: usize) -> S::F32 {
    let (mut best, mut number_of_best, mut number) = (s.splat(f32::NEG_INFINITY), s.splat(0.0), 0.0);
    for row in 0..rows {
        for column in 0..columns {
            let value = load(s, x, window.pixel(row, column) + c);
            let this = s.splat(number);
            let is_number = s.is_number(value);
            let larger = s.select(s.less(best, value), this, number_of_best);
            number_of_best = s.select(is_number, larger, this);
            best = s.select(is_number, s.max(value, best), value);
            number += 1.0;
        }
    }
    number_of_best
}

/// The vector at `from`, as far as `x` has it.
#[inline(always)]
fn load<S: Simd>(s: S, x: &[f32], from: usize) -> S::F32 {
    let x = &x[from..];
    // SAFETY: as many values are in the slice.
    unsafe { s.load_first(x.as_ptr(), x.len().min(S::LANES)) }
}

/// Writes the vector to `to`, but nothing from `end` on.
#[inline(always)]
fn store<S: Simd>(s: S, y: &mut [f32], to: usize, end: usize, value: S::F32) {
    let y = &mut y[to..end];
    // SAFETY: as many values are in the slice.
    unsafe { s.store_first(y.as_mut_ptr(), value, y.len().min(S::LANES)) }
}

/// Adds the first lanes to the slice, which is no longer than a vector.
#[inline(always)]
fn add<S: Simd>(s: S, y: &mut [f32], value: S::F32) {
    assert!(y.len() <= S::LANES);
    // SAFETY: as many values are in the slice.
    unsafe { s.store_first(y.as_mut_ptr(), s.add(s.load_first(y.as_ptr(), y.len()), value), y.len()) }
}
