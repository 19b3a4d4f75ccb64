//! Mean and variance of the channels of a batch.
//!
//! Each block of rows is summed twice, the second time from the cache: first for its means, then for the deviations
//! from them and their squares. (Squares of the values themselves are of no use: with mean 1000 and deviation 1, the
//! variance drowns in their rounding.) The mean of a block is rounded. The sum of the deviations corrects that. With
//! `d = x - a` of `n` values, for any `a`,
//!
//! ```text
//! mean = a + sum d / n                   m2 = sum (x - mean)^2 = sum d^2 - (sum d)^2 / n
//! ```
//!
//! Two sets of values, of `n1` and `n2`, are merged into one by (Chan, Golub & LeVeque, "Updating formulae and a
//! pairwise algorithm for computing sample variances", 1979):
//!
//! ```text
//! mean = mean1 + (mean2 - mean1) n2 / (n1 + n2)         m2 = m2_1 + m2_2 + (mean2 - mean1)^2 n1 n2 / (n1 + n2)
//! ```
//!
//! Here as there, `m2` is the sum of the squared deviations from the mean.

use super::sums::BLOCK;
use crate::host::{Cpu, as_f64};
use crate::loops::{Columns, GROUP, Images, Terms, column_sums};
use crate::ops::batch_norm::params::BatchNormParams;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};

/// Mean, and variance with divisor `rows`, of the channels of `x`.
pub(crate) fn batch_stats(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: &[f32],
    [mean, var]: [&mut [f32]; 2],
    workspace: &mut [f32],
) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    finish_batch_stats(columns, moments(cpu, Images { count: 1, columns }, x, workspace), [mean, var]);
}

/// What the forward pass makes of the batch statistics, each `[channels]`.
pub(crate) struct ForwardStats<'a> {
    /// Running mean, updated.
    pub(crate) running_mean: &'a mut [f32],
    /// Running variance, updated.
    pub(crate) running_var: &'a mut [f32],
    /// Mean of the batch, written.
    pub(crate) mean: &'a mut [f32],
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub(crate) rstd: &'a mut [f32],
}

/// `mean` and `rstd` of `x`, and the running statistics.
pub(crate) fn forward_stats(cpu: &Cpu, p: &BatchNormParams, x: &[f32], out: ForwardStats<'_>, workspace: &mut [f32]) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let [mean, m2] = merge_parts(columns, moments(cpu, Images { count: 1, columns }, x, workspace));
    for c in 0..p.channels {
        let var = m2[c] / p.rows as f64;
        out.mean[c] = mean[c] as f32;
        out.rstd[c] = (1.0 / (var + p.eps).sqrt()) as f32;
        update_running(p, mean[c], var, &mut out.running_mean[c], &mut out.running_var[c]);
    }
}

/// Updates a channel's running statistics with the mean of a batch and its variance with divisor `rows`.
pub(crate) fn update_running(p: &BatchNormParams, mean: f64, var: f64, running_mean: &mut f32, running_var: &mut f32) {
    // With momentum 0, an infinite mean would make the running one NaN, and the addition would make 0 of -0.
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

/// The moments of every part of `x`, which lie in the workspace: one after another, the means of the channels and their
/// `m2`.
pub(crate) fn moments<'a>(cpu: &Cpu, images: Images, x: &[f32], workspace: &'a mut [f32]) -> &'a mut [f64] {
    let len = 2 * images.columns.channels;
    let moments = &mut as_f64(workspace)[..images.parts() * len];
    let shared = SharedSlice::new(moments);
    images.for_each_part(&cpu.pool, |part| {
        // SAFETY: every part has its own moments.
        let moments = unsafe { shared.slice(part.number * len, len) };
        let (mean, m2) = moments.split_at_mut(len / 2);
        cpu.isa.dispatch(Task { columns: images.columns, x: &x[part.values], mean, m2 });
    });
    moments
}

/// Mean, and variance with divisor `rows`, from the moments of all parts.
fn finish_batch_stats(columns: Columns, parts: &mut [f64], [mean, var]: [&mut [f32]; 2]) {
    let [means, m2] = merge_parts(columns, parts);
    for c in 0..columns.channels {
        mean[c] = means[c] as f32;
        var[c] = (m2[c] / columns.rows as f64) as f32;
    }
}

/// Merges the moments of all parts of an image, in their order. Returns `[mean, m2]`.
pub(crate) fn merge_parts(columns: Columns, parts: &mut [f64]) -> [&mut [f64]; 2] {
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

/// Merges sets of `added > 0` values into sets of `count`, one a channel. `[mean, m2]` are those of either.
#[inline(always)]
pub(crate) fn merge(count: f64, [mean, m2]: [&mut [f64]; 2], added: f64, [other_mean, other_m2]: [&[f64]; 2]) {
    let share = added / (count + added);
    for (((mean, m2), other_mean), other_m2) in mean.iter_mut().zip(m2).zip(other_mean).zip(other_m2) {
        let difference = other_mean - *mean;
        *mean += difference * share;
        *m2 += other_m2 + difference * difference * count * share;
    }
}

/// One task: means of the channels of some whole rows, and their `m2`.
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
                let [block_mean, block_m2] = block_stats(s, &x[count * width + left..], (added, group, width));
                let block = [&block_mean[..group], &block_m2[..group]];
                merge(count as f64, [&mut group_mean[..group], &mut group_m2[..group]], added as f64, block);
                count += added;
            }
            // A wide row has several columns of each channel. They are merged one after another.
            for column in (0..group).take_while(|_| rows > 0) {
                let (channel, before) = ((left + column) % channels, (left + column) / channels * rows);
                let slot = channel..channel + 1;
                let values = [&group_mean[column..=column], &group_m2[column..=column]];
                merge(before as f64, [&mut mean[slot.clone()], &mut m2[slot]], rows as f64, values);
            }
        }
        // The last wide row may be cut short. It is merged value by value.
        let rest = &x[rows * width..];
        for (row, values) in rest.chunks_exact(channels).enumerate() {
            let before = (rows * columns.fold + row) as f64;
            for (c, value) in values.iter().enumerate() {
                merge(before, [&mut mean[c..=c], &mut m2[c..=c]], 1.0, [&[f64::from(*value)], &[0.0]]);
            }
        }
    }
}

/// Mean and `m2` of the columns of a block, which is `(rows, columns, stride)`.
#[inline(always)]
fn block_stats<S: Simd>(s: S, x: &[f32], block: (usize, usize, usize)) -> [[f64; GROUP]; 2] {
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
