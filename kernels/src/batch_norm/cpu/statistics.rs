//! Mean and variance of the channels of a batch.
//!
//! A block of rows is summed for its means, and then, from the cache, for the deviations from them and their squares: the
//! squares of a block with mean 1000 and deviation 1 would be of no use. The mean of a block is rounded, but the sum of the
//! deviations corrects for that: with `d = x - a` of `n` values, for any `a`,
//!
//! ```text
//! mean = a + sum d / n                   m2 = sum (x - mean)^2 = sum d^2 - (sum d)^2 / n
//! ```
//!
//! Two sets `1, 2` of values make one (Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
//! variances", 1979):
//!
//! ```text
//! mean = mean1 + (mean2 - mean1) n2 / (n1 + n2)         m2 = m2_1 + m2_2 + (mean2 - mean1)^2 n1 n2 / (n1 + n2)
//! ```

use super::super::BatchNormParams;
use super::BLOCK;
use crate::Cpu;
use crate::cpu::as_f64;
use crate::loops::{Columns, GROUP, Terms, column_sums};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};

/// Statistics of one batch and the state they update, each `[channels]`.
#[derive(Debug)]
pub struct Statistics<'a> {
    /// Running mean, updated.
    pub running_mean: &'a mut [f32],
    /// Running variance, updated.
    pub running_var: &'a mut [f32],
    /// Mean of the batch, written.
    pub mean: &'a mut [f32],
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub rstd: &'a mut [f32],
}

/// Mean and sum of squares of the deviations of the channels of some whole rows, into the halves of `out`.
fn task_moments(cpu: &Cpu, columns: Columns, x: &[f32], out: &mut [f64]) {
    let (mean, m2) = out.split_at_mut(columns.channels);
    cpu.isa.dispatch(Task { columns, x, mean, m2 });
}

/// Makes one of the moments of all tasks, in their order.
pub(crate) fn merge_moments(columns: Columns, parts: &mut [f64]) -> [&mut [f64]; 2] {
    let channels = columns.channels;
    let (total, others) = parts.split_at_mut(2 * channels);
    let (mean, m2) = total.split_at_mut(channels);
    let mut count = columns.task_rows(0) as f64;
    for (task, part) in others.chunks_exact(2 * channels).enumerate() {
        let added = columns.task_rows(task + 1) as f64;
        merge(count, [mean, m2], added, part.split_at(channels).into());
        count += added;
    }
    [mean, m2]
}

/// Mean and sum of squares of the deviations of the channels of `x`, left in the workspace.
fn all_moments<'a>(cpu: &Cpu, p: &BatchNormParams, x: &[f32], workspace: &'a mut [f32]) -> [&'a mut [f64]; 2] {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let len = 2 * p.channels;
    let parts = &mut as_f64(workspace)[..columns.tasks() * len];
    let shared = SharedSlice::new(parts);
    cpu.pool.for_each(columns.tasks(), |task| {
        // SAFETY: every task has its own part.
        let part = unsafe { shared.slice(task * len, len) };
        task_moments(cpu, columns, &x[columns.task(task)], part);
    });
    merge_moments(columns, parts)
}

/// Mean, and variance with divisor `rows`, of the channels of `x`.
pub fn moments(cpu: &Cpu, p: &BatchNormParams, x: &[f32], mean: &mut [f32], var: &mut [f32], workspace: &mut [f32]) {
    let [means, m2] = all_moments(cpu, p, x, workspace);
    for c in 0..p.channels {
        mean[c] = means[c] as f32;
        var[c] = (m2[c] / p.rows as f64) as f32;
    }
}

/// Updates a channel's running statistics with the mean of a batch and its variance with divisor `rows`.
pub fn update_running(p: &BatchNormParams, mean: f64, var: f64, running_mean: &mut f32, running_var: &mut f32) {
    // with momentum 0 an infinite mean would make NaN of the running one, and a sum 0 of -0
    if p.momentum == 0.0 {
        return;
    }
    let update = |running: &mut f32, new: f64| {
        let old = f64::from(*running);
        *running = (old + p.momentum * (new - old)) as f32;
    };
    update(running_mean, mean);
    if p.rows > 1 {
        let rows = p.rows as f64;
        update(running_var, var * (rows / (rows - 1.0)));
    }
}

/// `mean` and `rstd` of `x`, and the running statistics.
pub fn statistics(cpu: &Cpu, p: &BatchNormParams, x: &[f32], out: Statistics<'_>, workspace: &mut [f32]) {
    let [mean, m2] = all_moments(cpu, p, x, workspace);
    for c in 0..p.channels {
        let var = m2[c] / p.rows as f64;
        out.mean[c] = mean[c] as f32;
        out.rstd[c] = (1.0 / (var + p.eps).sqrt()) as f32;
        update_running(p, mean[c], var, &mut out.running_mean[c], &mut out.running_var[c]);
    }
}

/// Makes one of two sets of `count` and `added > 0` values, whose means and sums of squares are `[mean, m2]` each.
#[inline(always)]
pub(crate) fn merge(count: f64, [mean, m2]: [&mut [f64]; 2], added: f64, [other_mean, other_m2]: [&[f64]; 2]) {
    let share = added / (count + added);
    for (((mean, m2), other_mean), other_m2) in mean.iter_mut().zip(m2).zip(other_mean).zip(other_m2) {
        let difference = other_mean - *mean;
        *mean += difference * share;
        *m2 += other_m2 + difference * difference * count * share;
    }
}

/// The moments of one task.
struct Task<'a> {
    columns: Columns,
    x: &'a [f32],
    mean: &'a mut [f64],
    m2: &'a mut [f64],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { columns, x, mean, m2 } = self;
        let (channels, width) = (columns.channels, columns.width());
        let rows = x.len() / width;
        mean.fill(0.0);
        m2.fill(0.0);
        for left in (0..width).step_by(GROUP) {
            let group = GROUP.min(width - left);
            let (mut group_mean, mut group_m2) = ([0.0; GROUP], [0.0; GROUP]);
            let mut count = 0;
            while count < rows {
                let added = BLOCK.min(rows - count);
                let [block_mean, block_m2] = block_moments(s, &x[count * width + left..], (added, group, width));
                let block = [&block_mean[..group], &block_m2[..group]];
                merge(count as f64, [&mut group_mean[..group], &mut group_m2[..group]], added as f64, block);
                count += added;
            }
            // The columns of a channel, one after another.
            for column in (0..group).take_while(|_| rows > 0) {
                let (channel, before) = ((left + column) % channels, (left + column) / channels * rows);
                let slot = channel..channel + 1;
                let values = [&group_mean[column..=column], &group_m2[column..=column]];
                merge(before as f64, [&mut mean[slot.clone()], &mut m2[slot]], rows as f64, values);
            }
        }
        // What is left of a wide row, value by value.
        let rest = &x[rows * width..];
        for (row, values) in rest.chunks_exact(channels).enumerate() {
            let before = (rows * columns.fold + row) as f64;
            for (c, value) in values.iter().enumerate() {
                merge(before, [&mut mean[c..=c], &mut m2[c..=c]], 1.0, [&[f64::from(*value)], &[0.0]]);
            }
        }
    }
}

/// Mean and sum of squares of the columns of a block, given as rows, columns and stride.
#[inline(always)]
fn block_moments<S: Simd>(s: S, x: &[f32], block: (usize, usize, usize)) -> [[f64; GROUP]; 2] {
    let (rows, columns, _) = block;
    let share = 1.0 / rows as f64;
    let [sums] = column_sums(s, Values, [x], block, &[]);
    let mut centers = [0.0; GROUP];
    for (center, sum) in centers[..columns].iter_mut().zip(sums) {
        *center = sum * share as f32;
    }
    let [deviations, squares] = column_sums(s, Deviations, [x], block, &[centers]);
    let (mut mean, mut m2) = ([0.0; GROUP], [0.0; GROUP]);
    for i in 0..columns {
        let deviation = f64::from(deviations[i]);
        mean[i] = f64::from(centers[i]) + deviation * share;
        m2[i] = f64::from(squares[i]) - deviation * deviation * share;
    }
    [mean, m2]
}

/// `x`
#[derive(Clone, Copy)]
struct Values;

impl Terms<1, 0, 1> for Values {
    #[inline(always)]
    fn add<S: Simd>(self, s: S, [x]: [S::F32; 1], []: [S::F32; 0], [sum]: [S::F32; 1]) -> [S::F32; 1] {
        [s.add(sum, x)]
    }
}

/// `d = x - center` and `d^2`
#[derive(Clone, Copy)]
struct Deviations;

impl Terms<1, 1, 2> for Deviations {
    #[inline(always)]
    fn add<S: Simd>(self, s: S, [x]: [S::F32; 1], [center]: [S::F32; 1], [sum, squares]: [S::F32; 2]) -> [S::F32; 2] {
        let d = s.sub(x, center);
        [s.add(sum, d), s.mul_add(d, d, squares)]
    }
}
