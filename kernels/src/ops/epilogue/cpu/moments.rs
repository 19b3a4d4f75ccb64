//! Means and squared deviations of the channels of rows that come one block after another.

use crate::loops::{BlockSums, Columns};
use crate::ops::batch_norm::cpu::merge;

/// Number of f64 that the [`Moments`] of some rows need.
pub(super) fn len(columns: Columns) -> usize {
    3 * columns.width()
}

/// For each column of wide rows (see [`Columns`]) how many rows there were so far, their mean, and their `m2`: the sum
/// of squared deviations, as in `batch_norm/cpu/batch_stats.rs`. All are 0 at first, or empty if they are not wanted.
///
/// A block of rows sums the deviations from the mean of the rows before it. If there are none, the first row is a block
/// of its own.
pub(super) struct Moments<'a> {
    counts: &'a mut [f64],
    mean: &'a mut [f64],
    m2: &'a mut [f64],
    /// The first column of the tile.
    left: usize,
}

impl Moments<'_> {
    /// Those that a slice of [`len`] values, or an empty one, holds.
    pub(super) fn new(values: &mut [f64]) -> Moments<'_> {
        let (counts, rest) = values.split_at_mut(values.len() / 3);
        let (mean, m2) = rest.split_at_mut(rest.len() / 2);
        Moments { counts, mean, m2, left: 0 }
    }
}

impl<'a> Moments<'a> {
    /// The rows of every channel, their mean and their `m2`: a wide row has several columns of each channel, which are
    /// merged one after another.
    fn of_channels(self, channels: usize) -> (f64, [&'a mut [f64]; 2]) {
        let mut count = self.counts[0];
        let (mean, other_means) = self.mean.split_at_mut(channels);
        let (m2, other_m2) = self.m2.split_at_mut(channels);
        let others = other_means.chunks_exact(channels).zip(other_m2.chunks_exact(channels));
        for (others, added) in others.zip(self.counts.iter().step_by(channels).skip(1)) {
            // The only wide row may be too short for some.
            if *added > 0.0 {
                merge(count, [mean, m2], *added, others.into());
                count += added;
            }
        }
        (count, [mean, m2])
    }
}

impl BlockSums<1, 2> for Moments<'_> {
    #[inline(always)]
    fn first_row_alone(&self) -> bool {
        self.counts.get(self.left) == Some(&0.0)
    }

    #[inline(always)]
    fn begin(&mut self, left: usize, [center]: [&mut [f32]; 1]) {
        self.left = left;
        if !self.counts.is_empty() {
            for (center, mean) in center.iter_mut().zip(&self.mean[left..]) {
                *center = *mean as f32;
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, rows: usize, [sums, squares]: [&[f32]; 2], [center]: [&mut [f32]; 1]) {
        if self.counts.is_empty() {
            return;
        }
        let rows = rows as f64;
        let share = 1.0 / rows;
        let range = self.left..self.left + sums.len();
        let [counts, mean, m2] = [&mut *self.counts, self.mean, self.m2].map(|values| &mut values[range.clone()]);
        // Columns that a wide row was too short for, which are the last ones, have fewer rows. It is rare.
        let all_equal = counts[0] == counts[counts.len() - 1];
        let (before, merged) = (counts[0], rows / (counts[0] + rows));
        for i in 0..sums.len() {
            let (before, merged) = if all_equal { (before, merged) } else { (counts[i], rows / (counts[i] + rows)) };
            let deviation = f64::from(sums[i]);
            let block_mean = f64::from(center[i]) + deviation * share;
            // For one row, the formula gives 0 but for rounding.
            let block_m2 = if rows == 1.0 { 0.0 } else { f64::from(squares[i]) - deviation * deviation * share };
            let difference = block_mean - mean[i];
            mean[i] += difference * merged;
            m2[i] += block_m2 + difference * difference * before * merged;
            counts[i] = before + rows;
            center[i] = mean[i] as f32;
        }
    }

    #[inline(always)]
    fn end(&mut self, _: usize, _: usize) {}
}

/// Mean, and variance with divisor `rows`, of the channels of all parts of the rows. The moments of the parts lie one
/// behind another, and are merged in their order.
pub(super) fn finish(columns: Columns, parts: &mut [f64], [mean, var]: [&mut [f32]; 2]) {
    let channels = columns.channels;
    let (first, others) = parts.split_at_mut(len(columns));
    let (mut count, [means, m2]) = Moments::new(first).of_channels(channels);
    for part in others.chunks_exact_mut(len(columns)) {
        let (added, [other_means, other_m2]) = Moments::new(part).of_channels(channels);
        merge(count, [means, m2], added, [other_means, other_m2]);
        count += added;
    }
    for c in 0..channels {
        mean[c] = means[c] as f32;
        var[c] = (m2[c] / count) as f32;
    }
}
