//! Convolution as a matrix product: every output pixel's window becomes a row of a matrix, the *patches*.
//!
//! ```text
//! forward      y[pixels, K]   = patches[pixels, R S C] w[R S C, K]
//! grad_weight  dw[R S C, K]   = patches^T dy[pixels, K]
//! grad_input   dpatches       = dy w^T, of which every element is added to the input pixel that it was gathered from
//! ```
//!
//! The whole matrix would be `R S` times the input, so only a block of pixels is gathered at a time, into the workspace
//! of a thread. With groups there is one such product a group, of a slice of the channels.

use super::mapped::copy_mapped;
use super::operands::{Convolution, WeightGradient};
use super::tasks::{add_up, share};
use crate::host::Cpu;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use std::ops::Range;

/// Elements of a block of patches: half of a 512 KiB second-level cache.
const BLOCK_LEN: usize = 64 * 1024;
/// More pixels than that in a block gain nothing, and take tasks from the threads.
const MAX_BLOCK_PIXELS: usize = 512;
/// Tasks of a weight gradient, each of which has an accumulator as large as the weight.
const MAX_GRAD_WEIGHT_TASKS: usize = 16;

impl Conv2dParams {
    /// Elements of a patch of one group.
    fn patch_len(&self) -> usize {
        self.r * self.s * (self.c / self.groups)
    }

    fn block_pixels(&self) -> usize {
        (BLOCK_LEN / self.patch_len()).clamp(1, MAX_BLOCK_PIXELS)
    }

    fn block_len(&self) -> usize {
        self.block_pixels() * self.patch_len()
    }

    fn pixels(&self) -> usize {
        self.n * self.p * self.q
    }

    fn grad_weight_tasks(&self) -> usize {
        self.pixels().div_ceil(self.block_pixels()).clamp(1, MAX_GRAD_WEIGHT_TASKS)
    }
}

/// Scratch of [`convolve`], in elements.
pub(super) fn convolve_workspace_len(cpu: &Cpu, p: &Conv2dParams, direction: Direction, is_mapped: bool) -> usize {
    let copy_len = match direction {
        Direction::Forward => p.input_len(),
        Direction::Adjoint => p.output_len(),
    };
    cpu.pool.threads() * p.block_len() + if is_mapped { copy_len } else { 0 }
}

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`
pub(super) fn convolve(cpu: &Cpu, convolution: Convolution<'_>, workspace: &mut [f32]) {
    let Convolution { direction, params: p, input, w, bias, out, write } = convolution;
    let [[.., channels], _] = p.images(direction);
    let (input, patches) = copy_mapped(cpu, channels, input, workspace);
    match direction {
        Direction::Forward => forward(cpu, p, [input, w, bias], out, write, patches),
        Direction::Adjoint => grad_input(cpu, p, [input, w, bias], out, write, patches),
    }
}

fn forward(cpu: &Cpu, p: &Conv2dParams, [x, w, bias]: [&[f32]; 3], y: &mut [f32], write: Write, patches: &mut [f32]) {
    let (pixels, block) = (p.pixels(), p.block_pixels());
    let shared = SharedSlice::new(y);
    cpu.pool.for_each_with_scratch(pixels.div_ceil(block), patches, |i, patches| {
        let range = i * block..pixels.min((i + 1) * block);
        // SAFETY: every task has its own pixels.
        let y = unsafe { shared.slice(range.start * p.k, range.len() * p.k) };
        begin(y, bias, write);
        for group in 0..p.groups {
            gather(p, x, group, range.clone(), patches);
            let patches = Matrix::new(patches, 0, range.len(), p.patch_len(), p.patch_len());
            let w = Matrix::new(w, group * (p.k / p.groups), p.patch_len(), p.k / p.groups, p.k);
            multiply(patches, w, 1.0, MatrixMut::new(y, group * (p.k / p.groups), range.len(), p.k / p.groups, p.k));
        }
    });
}

fn grad_input(
    cpu: &Cpu,
    p: &Conv2dParams,
    [dy, w, bias]: [&[f32]; 3],
    dx: &mut [f32],
    write: Write,
    patches: &mut [f32],
) {
    let (pixels, block) = (p.p * p.q, p.block_pixels());
    let image_len = p.h * p.w * p.c;
    let shared = SharedSlice::new(dx);
    // Neighbouring windows overlap, so a task is a whole image.
    cpu.pool.for_each_with_scratch(p.n, patches, |n, patches| {
        // SAFETY: every task has its own image.
        let dx = unsafe { shared.slice(n * image_len, image_len) };
        begin(dx, bias, write);
        for start in (0..pixels).step_by(block) {
            let range = n * pixels + start..n * pixels + pixels.min(start + block);
            for group in 0..p.groups {
                let k = p.k / p.groups;
                let dy = Matrix::new(dy, range.start * p.k + group * k, range.len(), k, p.k);
                let w = Matrix::new(w, group * k, p.patch_len(), k, p.k);
                let dpatches = MatrixMut::new(patches, 0, range.len(), p.patch_len(), p.patch_len());
                multiply(dy, w.transposed(), 0.0, dpatches);
                scatter(p, patches, group, range.clone(), dx);
            }
        }
    });
}

/// Scratch of [`grad_weight`] without that for copies.
fn sums_and_patches_len(cpu: &Cpu, p: &Conv2dParams) -> usize {
    cpu.pool.threads() * p.block_len() + p.grad_weight_tasks() * p.weight_len()
}

/// Scratch of [`grad_weight`], in elements.
pub(super) fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams, is_mapped: bool) -> usize {
    sums_and_patches_len(cpu, p) + if is_mapped { p.input_len().max(p.output_len()) } else { 0 }
}

/// `dw (+)= x^T dy` for every tap
pub(super) fn grad_weight(cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
    let WeightGradient { params: p, x, dy, dw, write } = gradient;
    let (x, workspace) = copy_mapped(cpu, p.c, x, workspace);
    let (dy, workspace) = copy_mapped(cpu, p.k, dy, workspace);
    let (tasks, block) = (p.grad_weight_tasks(), p.block_pixels());
    // There is more of the workspace left if the shorter of the two operands was copied.
    let workspace = &mut workspace[..sums_and_patches_len(cpu, p)];
    let (sums, patches) = workspace.split_at_mut(tasks * p.weight_len());
    let shared = SharedSlice::new(sums);
    cpu.pool.for_each_with_scratch(tasks, patches, |i, patches| {
        // SAFETY: every task has its own sum.
        let sum = unsafe { shared.slice(i * p.weight_len(), p.weight_len()) };
        sum.fill(0.0);
        let pixels = share(p.pixels(), tasks, i);
        for start in pixels.clone().step_by(block) {
            let range = start..pixels.end.min(start + block);
            for group in 0..p.groups {
                gather(p, x, group, range.clone(), patches);
                let k = p.k / p.groups;
                let patches = Matrix::new(patches, 0, range.len(), p.patch_len(), p.patch_len());
                let dy = Matrix::new(dy, range.start * p.k + group * k, range.len(), k, p.k);
                multiply(patches.transposed(), dy, 1.0, MatrixMut::new(sum, group * k, p.patch_len(), k, p.k));
            }
        }
    });
    add_up(&cpu.pool, sums, dw, write);
}

/// Sets the values that products are added to.
fn begin(out: &mut [f32], bias: &[f32], write: Write) {
    match (write, bias) {
        (Write::Set, []) => out.fill(0.0),
        (Write::Set, _) => out.chunks_exact_mut(bias.len()).for_each(|pixel| pixel.copy_from_slice(bias)),
        (Write::Add, []) => {}
        (Write::Add, _) => {
            for pixel in out.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
            }
        }
    }
}

/// One kernel row of a window: `taps` of it are inside the image, and the first of these is at input element `start`.
struct WindowRow {
    taps: Range<usize>,
    start: usize,
}

/// The rows of the window of output pixel `pixel`, counted through the batch; a row outside the image has no taps.
fn window(p: &Conv2dParams, pixel: usize) -> impl Iterator<Item = WindowRow> {
    let (n, row, col) = (pixel / (p.p * p.q), pixel / p.q % p.p, pixel % p.q);
    let left = col * p.stride_w;
    let taps = p.pad_w.saturating_sub(left).min(p.s)..(p.w + p.pad_w).saturating_sub(left).min(p.s);
    (0..p.r).map(move |r| {
        let h = (row * p.stride_h + r).wrapping_sub(p.pad_h);
        if h >= p.h || taps.is_empty() {
            return WindowRow { taps: 0..0, start: 0 };
        }
        let start = ((n * p.h + h) * p.w + left + taps.start - p.pad_w) * p.c;
        WindowRow { taps: taps.clone(), start }
    })
}

/// Copies the windows of `pixels` from `x` into the rows of `patches`, zeros outside the image.
fn gather(p: &Conv2dParams, x: &[f32], group: usize, pixels: Range<usize>, patches: &mut [f32]) {
    let c = p.c / p.groups;
    for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(p.patch_len())) {
        for (row, patch) in window(p, pixel).zip(patch.chunks_exact_mut(p.s * c)) {
            let (first, last) = (row.taps.start * c, row.taps.end * c);
            patch[..first].fill(0.0);
            patch[last..].fill(0.0);
            let x = &x[row.start..];
            if p.groups == 1 {
                patch[first..last].copy_from_slice(&x[..last - first]);
            } else {
                for (tap, x) in patch[first..last].chunks_exact_mut(c).zip(x.chunks(p.c)) {
                    tap.copy_from_slice(&x[group * c..][..c]);
                }
            }
        }
    }
}

/// The adjoint of [`gather`]: adds the rows of `patches` to the windows of `pixels`, which are all in the image `dx`.
fn scatter(p: &Conv2dParams, patches: &[f32], group: usize, pixels: Range<usize>, dx: &mut [f32]) {
    let c = p.c / p.groups;
    let image = pixels.start / (p.p * p.q) * dx.len();
    for (pixel, patch) in pixels.zip(patches.chunks_exact(p.patch_len())) {
        for (row, patch) in window(p, pixel).zip(patch.chunks_exact(p.s * c)) {
            let patch = &patch[row.taps.start * c..row.taps.end * c];
            if patch.is_empty() {
                continue;
            }
            let dx = &mut dx[row.start - image..];
            for (tap, dx) in patch.chunks_exact(c).zip(dx.chunks_mut(p.c)) {
                dx[group * c..][..c].iter_mut().zip(tap).for_each(|(dx, tap)| *dx += tap);
            }
        }
    }
}

/// A matrix in a slice, with the distance between neighbours along a column and along a row.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `cols` consecutive elements, `stride` apart, beginning at element `start`.
    fn new(data: &'a [f32], start: usize, rows: usize, cols: usize, stride: usize) -> Matrix<'a> {
        Matrix { data: &data[start..start + extent(rows, cols, stride)], rows, cols, row_stride: stride, col_stride: 1 }
    }

    fn transposed(self) -> Matrix<'a> {
        let Matrix { data, rows, cols, row_stride, col_stride } = self;
        Matrix { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }
}

/// A matrix to write, with rows of consecutive elements.
struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> MatrixMut<'a> {
    fn new(data: &'a mut [f32], start: usize, rows: usize, cols: usize, stride: usize) -> MatrixMut<'a> {
        assert!(cols <= stride);
        MatrixMut { data: &mut data[start..start + extent(rows, cols, stride)], rows, cols, stride }
    }
}

/// Elements from the first to the last of a matrix.
fn extent(rows: usize, cols: usize, stride: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1) * stride + cols }
}

/// `c = beta c + a b`
fn multiply(a: Matrix, b: Matrix, beta: f32, c: MatrixMut) {
    assert!(a.rows == c.rows && b.cols == c.cols && a.cols == b.rows);
    // SAFETY: the constructors checked that every element is inside its slice, and that those of `c` are distinct.
    unsafe {
        matrixmultiply::sgemm(
            a.rows,
            a.cols,
            b.cols,
            1.0,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.col_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.col_stride as isize,
            beta,
            c.data.as_mut_ptr(),
            c.stride as isize,
            1,
        );
    }
}
