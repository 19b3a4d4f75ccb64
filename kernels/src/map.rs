//! The loops that element-wise passes share: tasks, vectors and tails.
//!
//! An element-wise pass is a [`Lanewise`] function of one vector per operand; [`map`] runs it over flat operands. A lane's
//! result depends on that lane's inputs alone, so it is the same wherever in a vector, a tail or a task it is computed.

use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use crate::{Cpu, Write};

/// Elements of a task: 64 KiB an operand, so that all operands of a task fit the second-level cache, and a task takes
/// longer than it costs to start. A pass of one task runs in the calling thread.
pub(crate) const TASK_LEN: usize = 16 * 1024;

/// A function of the same lane of `N` operands.
pub(crate) trait Lanewise<const N: usize>: Copy + Send + Sync {
    /// The function. Must be `#[inline(always)]`.
    fn eval<S: Simd>(self, s: S, inputs: [S::F32; N]) -> S::F32;
}

/// `out (+)= f(inputs)` for every element. An input that is `None` is `out` itself, as it was before.
pub(crate) fn map<const N: usize, F: Lanewise<N>>(
    cpu: &Cpu,
    f: F,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    let len = out.len();
    assert!(inputs.iter().flatten().all(|input| input.len() == len), "operands of unequal length");
    let shared = SharedSlice::new(out);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let start = task * TASK_LEN;
        let len = TASK_LEN.min(len - start);
        // SAFETY: tasks do not overlap.
        let out = unsafe { shared.slice(start, len) };
        cpu.isa.dispatch(Flat { f, inputs: inputs.map(|input| input.map(|x| &x[start..start + len])), out, write });
    });
}

/// One task of [`map`].
struct Flat<'a, F, const N: usize> {
    f: F,
    inputs: [Option<&'a [f32]>; N],
    out: &'a mut [f32],
    write: Write,
}

impl<const N: usize, F: Lanewise<N>> Kernel for Flat<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.out.len();
        let out = self.out.as_mut_ptr();
        let mut inputs = [out.cast_const(); N];
        for (pointer, input) in inputs.iter_mut().zip(self.inputs) {
            if let Some(input) = input {
                assert_eq!(input.len(), len);
                *pointer = input.as_ptr();
            }
        }
        let mut i = 0;
        while i + S::LANES <= len {
            let mut values = [s.splat(0.0); N];
            // SAFETY: LANES elements at `i` are inside every operand. An input either is `out`, whose elements are read
            // before they are written, or does not overlap it.
            unsafe {
                for (value, input) in values.iter_mut().zip(inputs) {
                    *value = s.load(input.add(i));
                }
                let mut y = self.f.eval(s, values);
                if self.write == Write::Add {
                    y = s.add(s.load(out.add(i)), y);
                }
                s.store(out.add(i), y);
            }
            i += S::LANES;
        }
        let rest = len - i;
        if rest > 0 {
            let mut values = [s.splat(0.0); N];
            // SAFETY: as above, with `rest` elements.
            unsafe {
                for (value, input) in values.iter_mut().zip(inputs) {
                    *value = s.load_partial(input.add(i), rest);
                }
                let mut y = self.f.eval(s, values);
                if self.write == Write::Add {
                    y = s.add(s.load_partial(out.add(i), rest), y);
                }
                s.store_partial(out.add(i), y, rest);
            }
        }
    }
}

/// How `rows` of `channels` values, one after another, are cut into vectors that hold the same channels in every row.
///
/// With fewer channels than lanes, `fold` rows count as one wide row, whose width is a multiple of the lanes, and the last
/// one may be cut short. With more, a vector row is a row, and its last vector may be partial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Values in a row.
    pub(crate) channels: usize,
    /// Rows in a wide row.
    pub(crate) fold: usize,
    /// Rows in all.
    pub(crate) rows: usize,
}

impl Columns {
    pub(crate) fn new(cpu: &Cpu, rows: usize, channels: usize) -> Columns {
        let lanes = cpu.isa.lanes();
        let fold = if channels < lanes { lanes >> channels.trailing_zeros().min(lanes.trailing_zeros()) } else { 1 };
        Columns { channels, fold, rows }
    }

    /// Values in a wide row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// Values in all.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.channels
    }

    /// Values of every task but the last: whole wide rows.
    pub(crate) fn task_len(&self) -> usize {
        (TASK_LEN / self.width()).max(1) * self.width()
    }

    /// Tasks.
    pub(crate) fn tasks(&self) -> usize {
        self.len().div_ceil(self.task_len())
    }

    /// The values of a task.
    pub(crate) fn task(&self, task: usize) -> std::ops::Range<usize> {
        let start = task * self.task_len();
        start..self.len().min(start + self.task_len())
    }
}

/// A function of the same lane of `N` operands and of `K` coefficients of the lane's channel.
pub(crate) trait Channelwise<const N: usize, const K: usize>: Send + Sync {
    /// The coefficients of a channel.
    fn coefficients(&self, channel: usize) -> [f32; K];
    /// The function. Must be `#[inline(always)]`.
    fn eval<S: Simd>(&self, s: S, inputs: [S::F32; N], coefficients: [S::F32; K]) -> S::F32;
}

/// `out (+)= f(inputs, coefficients of the channel)` for every element of `[rows, channels]` operands. An input that is
/// `None` is `out` itself, as it was before.
pub(crate) fn map_channels<const N: usize, const K: usize, F: Channelwise<N, K>>(
    cpu: &Cpu,
    columns: Columns,
    f: &F,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    assert_eq!(out.len(), columns.len());
    assert!(inputs.iter().flatten().all(|input| input.len() == columns.len()), "operands of unequal length");
    let shared = SharedSlice::new(out);
    cpu.pool.for_each(columns.tasks(), |task| {
        let range = columns.task(task);
        // SAFETY: tasks do not overlap.
        let out = unsafe { shared.slice(range.start, range.len()) };
        let inputs = inputs.map(|input| input.map(|x| &x[range.clone()]));
        cpu.isa.dispatch(Strip { f, columns, inputs, out, write });
    });
}

/// One task of [`map_channels`].
struct Strip<'a, F, const N: usize, const K: usize> {
    f: &'a F,
    columns: Columns,
    inputs: [Option<&'a [f32]>; N],
    out: &'a mut [f32],
    write: Write,
}

/// Columns whose coefficients a task holds at a time. At least the width of any folded row: fewer than 16 rows of fewer
/// than 16 channels.
const TILE: usize = 256;

impl<const N: usize, const K: usize, F: Channelwise<N, K>> Kernel for Strip<'_, F, N, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (len, width) = (self.out.len(), self.columns.width());
        let out = self.out.as_mut_ptr();
        let mut inputs = [out.cast_const(); N];
        for (pointer, input) in inputs.iter_mut().zip(self.inputs) {
            if let Some(input) = input {
                assert_eq!(input.len(), len);
                *pointer = input.as_ptr();
            }
        }
        for left in (0..width).step_by(TILE) {
            let tile = TILE.min(width - left);
            let mut coefficients = [[0.0; TILE]; K];
            for column in 0..tile {
                let values = self.f.coefficients((left + column) % self.columns.channels);
                for (tile, value) in coefficients.iter_mut().zip(values) {
                    tile[column] = value;
                }
            }
            for row in (0..len).step_by(width) {
                let start = row + left;
                let end = len.min(start + tile);
                let mut i = start;
                while i < end {
                    let count = S::LANES.min(end - i);
                    let mut k_values = [s.splat(0.0); K];
                    let mut values = [s.splat(0.0); N];
                    // SAFETY: `count` elements at `i` are inside every operand, and at `i - start` inside a tile of
                    // coefficients, which has a multiple of LANES. An input either is `out`, whose elements are read before
                    // they are written, or does not overlap it.
                    unsafe {
                        for (value, tile) in k_values.iter_mut().zip(&coefficients) {
                            *value = s.load(tile.as_ptr().add(i - start));
                        }
                        for (value, input) in values.iter_mut().zip(inputs) {
                            *value = s.load_partial(input.add(i), count);
                        }
                        let mut y = self.f.eval(s, values, k_values);
                        if self.write == Write::Add {
                            y = s.add(s.load_partial(out.add(i), count), y);
                        }
                        s.store_partial(out.add(i), y, count);
                    }
                    i += count;
                }
            }
        }
    }
}
