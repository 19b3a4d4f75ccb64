//! SIMD implementation of the [module documentation](super)'s equations, as it writes them for rounding: lanes are
//! elements of a row, columns and channels.
//!
//! The statistics of a window come from those of its columns: its mean is that of their means, and its sum of squared
//! deviations is the sum of theirs, plus seven times that of their means (Chan, Golub and LeVeque, "Algorithms for
//! computing the sample variance", 1983). Backward, each row of windows gives something to the seven rows of pixels
//! below each other that it has: sums along it are the same for all of them.

use super::params::{C1, C2, SsimParams, WINDOW, WINDOW_LEN};
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{TASK_LEN, for_rows_with_scratch};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, MAX_LANES, Simd};
use std::ops::Range;

/// Statistics of the columns of a row of windows.
const STATISTICS: usize = 4;

/// Coefficients of the gradient that a window has.
const COEFFICIENTS: usize = 3;

/// Rows of windows that a task of [`forward`] sums up.
fn task_rows(p: &SsimParams) -> usize {
    (TASK_LEN / p.row()).max(1)
}

fn tasks(p: &SsimParams) -> usize {
    (p.n * p.window_rows()).div_ceil(task_rows(p))
}

/// Scratch of [`forward`], in elements: the sums of tasks, and a row of statistics for each thread.
pub(super) fn forward_workspace_len(cpu: &Cpu, p: &SsimParams) -> usize {
    f64_workspace_len(tasks(p)) + cpu.pool.threads() * STATISTICS * p.row()
}

/// The mean similarity. The sums of tasks are added in their order.
pub(super) fn forward(cpu: &Cpu, p: &SsimParams, [x, y]: [&[f32]; 2], workspace: &mut [f32]) -> f32 {
    let (sums, columns) = workspace.split_at_mut(f64_workspace_len(tasks(p)));
    let sums = &mut as_f64(sums)[..tasks(p)];
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each_with_scratch(tasks(p), columns, |task, columns| {
        let rows = task * task_rows(p)..(p.n * p.window_rows()).min((task + 1) * task_rows(p));
        // SAFETY: every task has its own element.
        unsafe { shared.slice(task, 1)[0] = cpu.isa.dispatch(Similarities { p, x, y, rows, columns }) };
    });
    (sums.iter().sum::<f64>() / p.windows() as f64) as f32
}

/// Scratch of [`backward`], in elements, for each thread: a row of statistics, and one of coefficients between zeros.
pub(super) fn backward_workspace_len(cpu: &Cpu, p: &SsimParams) -> usize {
    cpu.pool.threads() * (STATISTICS * p.row() + COEFFICIENTS * padded_row(p))
}

/// Elements of a row of windows with zeros before and after it, so that each element of a row of pixels is in seven
/// windows beside each other.
fn padded_row(p: &SsimParams) -> usize {
    p.row() + (WINDOW - 1) * p.c
}

/// `dx (+)= dout` times the gradient of the mean similarity
pub(super) fn backward(
    cpu: &Cpu,
    p: &SsimParams,
    [x, y]: [&[f32]; 2],
    dout: f32,
    (dx, write): (&mut [f32], Write),
    workspace: &mut [f32],
) {
    let scale = (f64::from(dout) / p.windows() as f64) as f32;
    // A task needs the windows of the six rows above its own, too: few rows would compute many windows twice.
    let work = p.row().min(TASK_LEN / 32);
    for_rows_with_scratch(cpu, dx, p.row(), work, workspace, |rows, dx, scratch| {
        cpu.isa.dispatch(Gradient { p, x, y, scale, rows, dx, write, scratch });
    });
}

/// The sum of the similarities in some rows of windows.
struct Similarities<'a> {
    p: &'a SsimParams,
    x: &'a [f32],
    y: &'a [f32],
    /// Among those of all images.
    rows: Range<usize>,
    /// Scratch for statistics.
    columns: &'a mut [f32],
}

/// Vectors of similarities that are added up in f32.
const BLOCK: usize = 32;

impl Kernel for Similarities<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let Similarities { p, x, y, rows, columns } = self;
        let mut total = 0.0;
        for row in rows {
            let first = (row / p.window_rows() * p.h + row % p.window_rows()) * p.row();
            let pixels = first..first + WINDOW * p.row();
            column_statistics(s, &x[pixels.clone()], &y[pixels], columns);
            let len = p.window_row();
            for block in (0..len).step_by(BLOCK * S::LANES) {
                let mut sum = s.splat(0.0);
                for i in (block..len.min(block + BLOCK * S::LANES)).step_by(S::LANES) {
                    let count = S::LANES.min(len - i);
                    let similarity = windows(s, columns, (i, count), p.c).similarity(s);
                    // Lanes behind the last window do not count.
                    let mut terms = [0.0; MAX_LANES];
                    // SAFETY: `terms` has a vector's lanes.
                    sum = s.add(sum, unsafe {
                        s.store_first(terms.as_mut_ptr(), similarity, count);
                        s.load(terms.as_ptr())
                    });
                }
                total += f64::from(s.sum(sum));
            }
        }
        total
    }
}

/// The gradient of some rows of pixels.
struct Gradient<'a> {
    p: &'a SsimParams,
    x: &'a [f32],
    y: &'a [f32],
    /// The gradient of one window's similarity.
    scale: f32,
    /// Among those of all images.
    rows: Range<usize>,
    dx: &'a mut [f32],
    write: Write,
    scratch: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradient { p, x, y, scale, rows, dx, write, scratch } = self;
        let (columns, padded) = scratch.split_at_mut(STATISTICS * p.row());
        padded.fill(0.0);
        if write == Write::Set {
            dx.fill(0.0);
        }
        for image in rows.start / p.h..rows.end.div_ceil(p.h) {
            // The task's rows of this image
            let (first, end) = (rows.start.max(image * p.h), rows.end.min((image + 1) * p.h));
            let last_top = image * p.h + p.window_rows() - 1;
            for top in (first.saturating_sub(WINDOW - 1)).max(image * p.h)..end.min(last_top + 1) {
                let pixels = top * p.row()..(top + WINDOW) * p.row();
                column_statistics(s, &x[pixels.clone()], &y[pixels], columns);
                coefficients(s, columns, padded, scale, p);
                let pixels = top.max(first) * p.row()..end.min(top + WINDOW) * p.row();
                let start = rows.start * p.row();
                let dx = &mut dx[pixels.start - start..pixels.end - start];
                add_gradient(s, padded, [&x[pixels.clone()], &y[pixels]], dx, p);
            }
        }
    }
}

/// Means of seven values of `x` and of `d = y - x`, and sums of the squares of their deviations from these: those of
/// `x` and `y` together, and those of `d`.
struct Moments<S: Simd> {
    x: S::F32,
    d: S::F32,
    squares: S::F32,
    d_squares: S::F32,
}

#[inline(always)]
fn moments<S: Simd>(s: S, xs: [S::F32; WINDOW], ds: [S::F32; WINDOW]) -> Moments<S> {
    let (x, d) = (mean(s, xs), mean(s, ds));
    let (mut squares, mut d_squares) = (s.splat(0.0), s.splat(0.0));
    for i in 0..WINDOW {
        let (of_x, of_d) = (s.sub(xs[i], x), s.sub(ds[i], d));
        let of_y = s.add(of_x, of_d);
        squares = s.mul_add(of_x, of_x, s.mul_add(of_y, of_y, squares));
        d_squares = s.mul_add(of_d, of_d, d_squares);
    }
    Moments { x, d, squares, d_squares }
}

#[inline(always)]
fn mean<S: Simd>(s: S, values: [S::F32; WINDOW]) -> S::F32 {
    s.mul(s.splat(1.0 / WINDOW as f32), sum(s, values))
}

#[inline(always)]
fn sum<S: Simd>(s: S, [a, b, c, d, e, f, g]: [S::F32; WINDOW]) -> S::F32 {
    s.add(s.add(s.add(a, b), s.add(c, d)), s.add(s.add(e, f), g))
}

/// Seven vectors that begin at `start`, `start + stride` and so on; `count` lanes of each.
#[inline(always)]
fn seven<S: Simd>(s: S, from: &[f32], (start, stride): (usize, usize), count: usize) -> [S::F32; WINDOW] {
    assert!(start + (WINDOW - 1) * stride + count <= from.len());
    let mut values = [s.splat(0.0); WINDOW];
    for (i, value) in values.iter_mut().enumerate() {
        // SAFETY: `count` elements are there, as asserted.
        *value = unsafe { s.load_first(from.as_ptr().add(start + i * stride), count) };
    }
    values
}

/// The [`Moments`] of every column of seven rows, a row of `columns` for each.
#[inline(always)]
fn column_statistics<S: Simd>(s: S, x: &[f32], y: &[f32], columns: &mut [f32]) {
    let len = columns.len() / STATISTICS;
    assert!(columns.len() == STATISTICS * len && x.len() == WINDOW * len && y.len() == WINDOW * len);
    for i in (0..len).step_by(S::LANES) {
        let count = S::LANES.min(len - i);
        let (xs, mut ds) = (seven(s, x, (i, len), count), seven(s, y, (i, len), count));
        for (d, x) in ds.iter_mut().zip(xs) {
            *d = s.sub(*d, x);
        }
        let of_column = moments(s, xs, ds);
        let values = [of_column.x, of_column.d, of_column.squares, of_column.d_squares];
        for (statistic, value) in values.into_iter().enumerate() {
            // SAFETY: `count` elements at `i` are inside each row of `columns`.
            unsafe { s.store_first(columns.as_mut_ptr().add(statistic * len + i), value, count) };
        }
    }
}

/// What the equations name, of one window a lane.
struct Windows<S: Simd> {
    mx: S::F32,
    md: S::F32,
    vd: S::F32,
    a1: S::F32,
    a2: S::F32,
    b1: S::F32,
    b2: S::F32,
}

impl<S: Simd> Windows<S> {
    #[inline(always)]
    fn similarity(&self, s: S) -> S::F32 {
        s.div(s.mul(self.a1, self.a2), s.mul(self.b1, self.b2))
    }
}

/// `count` windows from `first` on, of the row whose columns are given; `c` channels.
#[inline(always)]
fn windows<S: Simd>(s: S, columns: &[f32], (first, count): (usize, usize), c: usize) -> Windows<S> {
    let len = columns.len() / STATISTICS;
    let (xs, ds) = (seven(s, columns, (first, c), count), seven(s, columns, (len + first, c), count));
    let of_means = moments(s, xs, ds);
    let squares = sum(s, seven(s, columns, (2 * len + first, c), count));
    let d_squares = sum(s, seven(s, columns, (3 * len + first, c), count));
    let (rows, sample) = (s.splat(WINDOW as f32), s.splat(1.0 / (WINDOW_LEN - 1) as f32));
    let vd = s.mul(sample, s.mul_add(rows, of_means.d_squares, d_squares));
    let (mx, md) = (of_means.x, of_means.d);
    let my = s.add(mx, md);
    let b1 = s.mul_add(mx, mx, s.mul_add(my, my, s.splat(C1 as f32)));
    let b2 = s.mul_add(sample, s.mul_add(rows, of_means.squares, squares), s.splat(C2 as f32));
    Windows { mx, md, vd, a1: s.neg_mul_add(md, md, b1), a2: s.sub(b2, vd), b1, b2 }
}

/// `D - R md - T mx`, `R` and `T` of every window of a row, times `scale`, between the zeros of `padded`.
#[inline(always)]
fn coefficients<S: Simd>(s: S, columns: &[f32], padded: &mut [f32], scale: f32, p: &SsimParams) {
    let (len, stride, margin) = (p.window_row(), padded_row(p), (WINDOW - 1) * p.c);
    assert_eq!(padded.len(), COEFFICIENTS * stride);
    for i in (0..len).step_by(S::LANES) {
        let count = S::LANES.min(len - i);
        let Windows { mx, md, vd, a1, a2, b1, b2 } = windows(s, columns, (i, count), p.c);
        let (inverse_b1, inverse_b2) = (s.div(s.splat(1.0), b1), s.div(s.splat(1.0), b2));
        let factor = s.mul(s.splat(2.0 * scale), s.mul(inverse_b1, inverse_b2));
        let r = s.mul(s.splat(1.0 / (WINDOW_LEN - 1) as f32), s.mul(factor, a1));
        let t = s.mul(r, s.mul(vd, inverse_b2));
        let difference = s.mul_add(s.mul(mx, inverse_b1), s.mul(md, md), md);
        let d = s.mul(s.splat(1.0 / WINDOW_LEN as f32), s.mul(s.mul(factor, a2), difference));
        let constant = s.neg_mul_add(t, mx, s.neg_mul_add(r, md, d));
        for (coefficient, value) in [constant, r, t].into_iter().enumerate() {
            // SAFETY: `margin + len` elements are inside each row of `padded`.
            unsafe { s.store_first(padded.as_mut_ptr().add(coefficient * stride + margin + i), value, count) };
        }
    }
}

/// Adds to rows of `dx` what a row of windows gives them.
#[inline(always)]
fn add_gradient<S: Simd>(s: S, padded: &[f32], [x, y]: [&[f32]; 2], dx: &mut [f32], p: &SsimParams) {
    let (len, stride) = (p.row(), padded_row(p));
    assert!(x.len() == dx.len() && y.len() == dx.len() && dx.len().is_multiple_of(len));
    for i in (0..len).step_by(S::LANES) {
        let count = S::LANES.min(len - i);
        let constant = sum(s, seven(s, padded, (i, p.c), count));
        let r = sum(s, seven(s, padded, (stride + i, p.c), count));
        let t = sum(s, seven(s, padded, (2 * stride + i, p.c), count));
        for at in (i..dx.len()).step_by(len) {
            // SAFETY: `count` elements at `i` are inside each row.
            unsafe {
                let (x, y) = (s.load_first(x.as_ptr().add(at), count), s.load_first(y.as_ptr().add(at), count));
                let gradient = s.mul_add(t, x, s.mul_add(r, s.sub(y, x), constant));
                let out = dx.as_mut_ptr().add(at);
                s.store_first(out, s.add(s.load_first(out, count), gradient), count);
            }
        }
    }
}
