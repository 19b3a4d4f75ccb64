//! SIMD implementation of the [module documentation](super)'s equations: lanes are channels.
//!
//! Both passes are weighted sums of some rows, and then of some columns of the sum. Which, and with what weights,
//! depends on the sizes alone: it is found once, before the tasks.

use super::params::UpsampleParams;
use crate::host::Cpu;
use crate::loops::for_rows_with_scratch;
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

/// Elements of scratch: the taps, and a row of the image that is read for each thread.
pub(super) fn workspace_len(cpu: &Cpu, p: &UpsampleParams, direction: Direction) -> usize {
    let [from, to] = direction.sizes(p);
    Taps::len(p, 0, to[0]) + Taps::len(p, 1, to[1]) + cpu.pool.threads() * from[1] * p.c
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
    let (rows, workspace) = workspace.split_at_mut(Taps::len(p, 0, of_to[0]));
    let (columns, sums) = workspace.split_at_mut(Taps::len(p, 1, of_to[1]));
    let (rows, columns) = (Taps::new(p, 0, direction, rows), Taps::new(p, 1, direction, columns));
    let [from_row, to_row] = [of_from, of_to].map(|size| size[1] * p.c);
    let work = to_row.max(from_row * of_from[0].div_ceil(of_to[0]));
    for_rows_with_scratch(cpu, to, to_row, work, sums, |task, to, sum| {
        cpu.isa.dispatch(Rows { rows, columns, c: p.c, from, height: of_from[0], to, first: task.start, sum, write });
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
    /// Height of the images in `from`.
    height: usize,
    to: &'a mut [f32],
    first: usize,
    /// Scratch for a row of `from`.
    sum: &'a mut [f32],
    write: Write,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { rows, columns, c, from, height, to, first, sum, write } = self;
        let row_len = sum.len();
        for (row, to) in (first..).zip(to.chunks_exact_mut(columns.pixels() * c)) {
            let (image, (first_row, weights)) = (row / rows.pixels(), rows.of(row % rows.pixels()));
            let from = &from[(image * height + first_row) * row_len..][..weights.len() * row_len];
            let row = match weights {
                [1.0] => from,
                _ => {
                    weighted_sum(s, weights, from, sum, Write::Set);
                    &*sum
                }
            };
            for (column, to) in to.chunks_exact_mut(c).enumerate() {
                let (first_column, weights) = columns.of(column);
                weighted_sum(s, weights, &row[first_column * c..][..weights.len() * c], to, write);
            }
        }
    }
}

/// `to (+)=` the sum of as many pieces of `from` as there are weights, times these
#[inline(always)]
fn weighted_sum<S: Simd>(s: S, weights: &[f32], from: &[f32], to: &mut [f32], write: Write) {
    // The compiler unrolls loops over arrays.
    match *weights {
        [a] => add_pieces(s, &[a], from, to, write),
        [a, b] => add_pieces(s, &[a, b], from, to, write),
        [a, b, c, d] => add_pieces(s, &[a, b, c, d], from, to, write),
        _ => add_pieces(s, weights, from, to, write),
    }
}

/// As [`weighted_sum`].
#[inline(always)]
fn add_pieces<S: Simd>(s: S, weights: &[f32], from: &[f32], to: &mut [f32], write: Write) {
    let len = to.len();
    assert_eq!(from.len(), weights.len() * len);
    let mut i = 0;
    while i < len {
        let count = S::LANES.min(len - i);
        let mut sum = s.splat(0.0);
        for (piece, weight) in weights.iter().enumerate() {
            // SAFETY: `count` values at `i` are inside each piece.
            let x = unsafe { s.load_first(from.as_ptr().add(piece * len + i), count) };
            sum = s.mul_add(s.splat(*weight), x, sum);
        }
        // SAFETY: `count` values at `i` are inside `to`.
        unsafe {
            let out = to.as_mut_ptr().add(i);
            if write == Write::Add {
                sum = s.add(s.load_first(out, count), sum);
            }
            s.store_first(out, sum, count);
        }
        i += count;
    }
}
