//! SIMD implementation of the [module documentation](super)'s equations: lanes are channels.
//!
//! Both passes are weighted sums of some rows of some columns. Which, and with what weights, depends on the sizes
//! alone: it is found once, before the tasks.

use super::params::UpsampleParams;
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// Which image is made from which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Direction {
    /// The output from the input.
    Forward,
    /// The input's gradient from the output's.
    Backward,
}

impl Direction {
    /// Height and width of the image that is read, and of the one that is written.
    fn sizes(self, p: &UpsampleParams) -> [[usize; 2]; 2] {
        match self {
            Direction::Forward => [p.input, p.output],
            Direction::Backward => [p.output, p.input],
        }
    }
}

/// Elements of scratch.
pub(super) fn workspace_len(p: &UpsampleParams, direction: Direction) -> usize {
    let [_, to] = direction.sizes(p);
    (0..2).map(|axis| Taps::len(p, axis, to[axis])).sum()
}

/// `to (+)=` the weighted sums of `from`
pub(super) fn resample(
    cpu: &Cpu,
    p: &UpsampleParams,
    direction: Direction,
    from: &[f32],
    (to, write): (&mut [f32], Write),
    workspace: &mut [f32],
) {
    let [of_from, of_to] = direction.sizes(p);
    let (rows, columns) = workspace.split_at_mut(Taps::len(p, 0, of_to[0]));
    let (rows, columns) = (Taps::new(p, 0, direction, rows), Taps::new(p, 1, direction, columns));
    let [from_row, to_row] = [of_from, of_to].map(|size| size[1] * p.c);
    let work = to_row.max(from_row * of_from[0].div_ceil(of_to[0]));
    for_rows(cpu, to, to_row, work, |task, to| {
        cpu.isa.dispatch(Rows { rows, columns, c: p.c, from, size: of_from, to, first: task.start, write });
    });
}

/// The pixels that each pixel of the written image is a sum of, in one direction: those from `first` on, with the
/// weights from `begin` to the next one's `begin`.
#[derive(Clone, Copy)]
struct Taps<'a> {
    first: &'a [u32],
    begin: &'a [u32],
    weights: &'a [f32],
}

impl<'a> Taps<'a> {
    /// Elements of a workspace for `pixels` pixels. A pixel of the output has at most two weights.
    fn len(p: &UpsampleParams, axis: usize, pixels: usize) -> usize {
        2 * pixels + 1 + 2 * p.output[axis]
    }

    /// The taps of an axis, in a workspace.
    fn new(p: &UpsampleParams, axis: usize, direction: Direction, workspace: &'a mut [f32]) -> Taps<'a> {
        let ([_, to], (input, output)) = (direction.sizes(p), (p.input[axis], p.output[axis]));
        let (first, rest) = workspace.split_at_mut(to[axis]);
        let (begin, weights) = rest.split_at_mut(to[axis] + 1);
        let [first, begin] = [first, begin].map(bytemuck::cast_slice_mut::<f32, u32>);
        // Rows and columns of an image in memory are far fewer than 2^32.
        let (mut count, mut earliest) = (0, 0);
        begin[0] = 0;
        for i in 0..to[axis] {
            let mut push = |weight: f64| {
                weights[count] = weight as f32;
                count += 1;
            };
            match direction {
                Direction::Forward => {
                    let source = p.source(axis, i);
                    first[i] = source.index as u32;
                    let last = (source.index + p.reach()).min(input - 1);
                    (source.index..=last).for_each(|k| push(p.weight(axis, source, k)));
                }
                Direction::Backward => {
                    // Sources are in ascending order.
                    while earliest < output && p.source(axis, earliest).index + p.reach() < i {
                        earliest += 1;
                    }
                    first[i] = earliest as u32;
                    let sources = (earliest..output).map(|k| p.source(axis, k));
                    sources.take_while(|source| source.index <= i).for_each(|source| push(p.weight(axis, source, i)));
                }
            }
            begin[i + 1] = count as u32;
        }
        Taps { first, begin, weights }
    }

    /// The first pixel, and the weights from it on, of pixel `i`.
    #[inline(always)]
    fn of(&self, i: usize) -> (usize, &'a [f32]) {
        (self.first[i] as usize, &self.weights[self.begin[i] as usize..self.begin[i + 1] as usize])
    }

    /// Pixels.
    fn pixels(&self) -> usize {
        self.first.len()
    }
}

/// The rows from `first` on of all images.
struct Rows<'a> {
    rows: Taps<'a>,
    columns: Taps<'a>,
    c: usize,
    from: &'a [f32],
    /// Height and width of the images in `from`.
    size: [usize; 2],
    to: &'a mut [f32],
    first: usize,
    write: Write,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { rows, columns, c, from, size: [height, width], to, first, write } = self;
        let row_len = columns.pixels() * c;
        for (row, to) in (first..).zip(to.chunks_exact_mut(row_len)) {
            let (image, (first_row, row_weights)) = (row / rows.pixels(), rows.of(row % rows.pixels()));
            let from = &from[(image * height + first_row) * width * c..][..row_weights.len() * width * c];
            for (column, to) in to.chunks_exact_mut(c).enumerate() {
                let (first_column, column_weights) = columns.of(column);
                assert!(first_column + column_weights.len() <= width);
                let pixel = Pixel { from: &from[..], at: first_column * c, stride: width * c, to, write };
                // The compiler unrolls loops over arrays.
                match (row_weights, column_weights) {
                    (&[row], &[column]) => pixel.sum(s, &[row], &[column]),
                    (&[r0, r1], &[c0, c1]) => pixel.sum(s, &[r0, r1], &[c0, c1]),
                    _ => pixel.sum(s, row_weights, column_weights),
                }
            }
        }
    }
}

/// One pixel of the written image.
struct Pixel<'a> {
    /// Rows that are `stride` long.
    from: &'a [f32],
    /// Place of the first column in a row.
    at: usize,
    stride: usize,
    to: &'a mut [f32],
    write: Write,
}

impl Pixel<'_> {
    #[inline(always)]
    fn sum<S: Simd>(self, s: S, rows: &[f32], columns: &[f32]) {
        let Pixel { from, at, stride, to, write } = self;
        let channels = to.len();
        assert!(from.len() == rows.len() * stride && at + columns.len() * channels <= stride);
        let mut c = 0;
        while c < channels {
            let count = S::LANES.min(channels - c);
            let mut sum = s.splat(0.0);
            for (row, of_row) in rows.iter().enumerate() {
                let mut row_sum = s.splat(0.0);
                for (column, of_column) in columns.iter().enumerate() {
                    let place = row * stride + at + column * channels + c;
                    // SAFETY: `count` channels from `c` on are inside every pixel, and pixels inside their rows.
                    let x = unsafe { s.load_first(from.as_ptr().add(place), count) };
                    row_sum = s.mul_add(s.splat(*of_column), x, row_sum);
                }
                sum = s.mul_add(s.splat(*of_row), row_sum, sum);
            }
            // SAFETY: `count` channels from `c` on are inside the pixel.
            unsafe {
                let out = to.as_mut_ptr().add(c);
                if write == Write::Add {
                    sum = s.add(s.load_first(out, count), sum);
                }
                s.store_first(out, sum, count);
            }
            c += count;
        }
    }
}
