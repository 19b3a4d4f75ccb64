//! The forward pass.

use super::activation::visit_activation;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{BlockSums, Columns, Operands, RowFunction, TILE, map_rows};
use crate::ops::activation::cpu::{Function, Visitor};
use crate::ops::batch_norm::cpu::{finish_batch_stats, merge};
use crate::ops::epilogue::params::EpilogueParams;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};

/// Scratch of [`forward`], in elements: two f64 a channel and task.
pub(crate) fn forward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * 2 * p.channels)
}

/// Operands of [`forward`].
pub(crate) struct ForwardOperands<'a> {
    /// `None` if `y` holds it.
    pub(crate) z: Option<&'a [f32]>,
    /// Empty if it is absent.
    pub(crate) skip: &'a [f32],
    pub(crate) y: &'a mut [f32],
    /// Mean and variance of `y`; both are empty if they are not wanted.
    pub(crate) batch_stats: [&'a mut [f32]; 2],
}

/// `y = f(z) + skip_weight skip`, and the batch statistics of `y`.
pub(crate) fn forward(cpu: &Cpu, p: &EpilogueParams, operands: ForwardOperands<'_>, workspace: &mut [f32]) {
    visit_activation(p, Forward { cpu, p, operands, workspace });
}

/// Arguments of [`forward`].
struct Forward<'a> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    operands: ForwardOperands<'a>,
    workspace: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Forward { cpu, p, operands: ForwardOperands { z, skip, y, batch_stats }, workspace } = self;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let wants_stats = !batch_stats[0].is_empty();
        let part_len = if wants_stats { 2 * p.channels } else { 0 };
        let parts = &mut as_f64(workspace)[..columns.tasks() * part_len];
        let (y, shared) = (SharedSlice::new(y), SharedSlice::new(parts));
        let value = Value { f, skip_weight: (!skip.is_empty()).then_some(p.skip_weight as f32) };
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            // SAFETY: tasks do not overlap.
            let (y, part) = unsafe { (y.slice(range.start, range.len()), shared.slice(task * part_len, part_len)) };
            let z = z.map(|z| &z[range.clone()]);
            let skip = if skip.is_empty() { skip } else { &skip[range] };
            cpu.isa.dispatch(ForwardTask { columns, value, z, skip, y, part });
        });
        if wants_stats {
            finish_batch_stats(columns, parts, batch_stats);
        }
    }
}

/// One task of [`forward`]. `part` gets the means of the channels and then their `m2`, unless it is empty.
struct ForwardTask<'a, F> {
    columns: Columns,
    value: Value<F>,
    z: Option<&'a [f32]>,
    skip: &'a [f32],
    y: &'a mut [f32],
    part: &'a mut [f64],
}

impl<F: Function> Kernel for ForwardTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardTask { columns, value, z, skip, y, part } = self;
        let len = y.len();
        assert!(z.is_none_or(|z| z.len() == len) && (skip.is_empty() || skip.len() == len));
        let y = y.as_mut_ptr();
        let z = z.map_or(y.cast_const(), <[f32]>::as_ptr);
        let skip = if skip.is_empty() { z } else { skip.as_ptr() };
        part.fill(0.0);
        let (mean, m2) = part.split_at_mut(part.len() / 2);
        let mut stats = TaskStats { channels: columns.channels, mean, m2, counts: [0; TILE], tile: [[0.0; TILE]; 2] };
        let operands = Operands { inputs: [z, skip], outputs: [y], len };
        // SAFETY: all operands have `len` elements, and an input is the output or does not overlap it.
        unsafe { map_rows(s, &value, columns, operands, &mut stats) };
    }
}

/// `y = f(z) + skip_weight skip`, and `d = y - center` and `d^2`
#[derive(Clone, Copy)]
struct Value<F> {
    f: F,
    skip_weight: Option<f32>,
}

impl<F: Function> RowFunction<2, 1, 1, 2> for Value<F> {
    #[inline(always)]
    fn eval<S: Simd>(
        &self,
        s: S,
        [z, skip]: [S::F32; 2],
        [center]: [S::F32; 1],
        [sum, squares]: [S::F32; 2],
    ) -> ([S::F32; 1], [S::F32; 2]) {
        let mut y = self.f.value(s, z);
        if let Some(weight) = self.skip_weight {
            y = s.mul_add(s.splat(weight), skip, y);
        }
        let d = s.sub(y, center);
        ([y], [s.add(sum, d), s.mul_add(d, d, squares)])
    }
}

/// Means of the channels of a task, and their `m2`: the sums of squared deviations, as in
/// `batch_norm/cpu/batch_stats.rs`. A block sums the deviations from the mean of the rows before it. The first row has
/// none before, so it is a block of its own.
struct TaskStats<'a> {
    channels: usize,
    /// Means of the channels; empty if they are not wanted.
    mean: &'a mut [f64],
    /// The channels' `m2`; empty if they are not wanted.
    m2: &'a mut [f64],
    /// Rows so far of each column of the tile.
    counts: [usize; TILE],
    /// Means of the tile's columns, and their `m2`.
    tile: [[f64; TILE]; 2],
}

impl BlockSums<1, 2> for TaskStats<'_> {
    const FIRST_ROW_ALONE: bool = true;

    #[inline(always)]
    fn begin(&mut self, _: usize, [center]: [&mut [f32]; 1]) {
        center.fill(0.0);
        self.counts = [0; TILE];
        self.tile = [[0.0; TILE]; 2];
    }

    #[inline(always)]
    fn add(&mut self, rows: usize, [sums, squares]: [&[f32]; 2], [center]: [&mut [f32]; 1]) {
        if self.mean.is_empty() {
            return;
        }
        let share = 1.0 / rows as f64;
        let [mean, m2] = &mut self.tile;
        // All columns of a block have as many rows before them.
        let before = self.counts[0] as f64;
        let merged = rows as f64 / (before + rows as f64);
        for i in 0..sums.len() {
            let deviation = f64::from(sums[i]);
            let block_mean = f64::from(center[i]) + deviation * share;
            // For one row, the formula gives 0 but for rounding.
            let block_m2 = if rows == 1 { 0.0 } else { f64::from(squares[i]) - deviation * deviation * share };
            let difference = block_mean - mean[i];
            mean[i] += difference * merged;
            m2[i] += block_m2 + difference * difference * before * merged;
            self.counts[i] += rows;
            center[i] = mean[i] as f32;
        }
    }

    #[inline(always)]
    fn end(&mut self, left: usize, columns: usize) {
        let [mean, m2] = &self.tile;
        let mut before = 0;
        // A wide row has several columns of each channel. They are merged one after another.
        for column in 0..columns {
            let channel = (left + column) % self.channels;
            let count = self.counts[column];
            if count > 0 {
                let slot = channel..channel + 1;
                let values = [&mean[column..=column], &m2[column..=column]];
                merge(before as f64, [&mut self.mean[slot.clone()], &mut self.m2[slot]], count as f64, values);
            }
            if channel + 1 == self.channels {
                before += count;
            }
        }
    }
}
