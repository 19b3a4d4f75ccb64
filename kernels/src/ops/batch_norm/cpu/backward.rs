//! Gradients of the scale, the offset and the input.

use super::sums::BLOCK;
use crate::host::{Cpu, as_f64};
use crate::loops::{Channelwise, Columns, GROUP, Images, Terms, column_sums, map_channels};
use crate::ops::batch_norm::params::BatchNormParams;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// `[dgamma, dbeta]`, each `[channels]`: `dgamma = sum dy xhat` and `dbeta = sum dy`. They lie in the workspace.
pub(crate) fn backward_sums<'a>(
    cpu: &Cpu,
    p: &BatchNormParams,
    [x, dy]: [&[f32]; 2],
    [mean, rstd]: [&[f32]; 2],
    workspace: &'a mut [f32],
) -> [&'a [f64]; 2] {
    let images = Images { count: 1, columns: Columns::new(cpu, p.rows, p.channels) };
    finish_sums(gradient_sums(cpu, images, [x, dy], mean, workspace), rstd)
}

/// `[dgamma, dbeta]` from the parts of [`gradient_sums`].
pub(crate) fn finish_sums<'a>(parts: &'a mut [f64], rstd: &[f32]) -> [&'a [f64]; 2] {
    let channels = rstd.len();
    let total = add_up(parts, 2 * channels, 2 * channels);
    let (dgamma, dbeta) = total.split_at_mut(channels);
    dgamma.iter_mut().zip(rstd).for_each(|(dgamma, rstd)| *dgamma *= f64::from(*rstd));
    [dgamma, dbeta]
}

/// For each part: one after another, `sum dy (x - mean)`, which is yet to be multiplied by `rstd`, and `sum dy` of the
/// channels. They lie in the workspace. `mean` is `[images, groups]`; a group is as many channels, one after another.
pub(crate) fn gradient_sums<'a>(
    cpu: &Cpu,
    images: Images,
    [x, dy]: [&[f32]; 2],
    mean: &[f32],
    workspace: &'a mut [f32],
) -> &'a mut [f64] {
    let (channels, groups) = (images.columns.channels, mean.len() / images.count);
    let sums = &mut as_f64(workspace)[..images.parts() * 2 * channels];
    let shared = SharedSlice::new(sums);
    images.for_each_part(&cpu.pool, |part| {
        // SAFETY: every part has its own sums.
        let sums = unsafe { shared.slice(part.number * 2 * channels, 2 * channels) };
        let (dgamma, dbeta) = sums.split_at_mut(channels);
        let (x, dy) = (&x[part.values.clone()], &dy[part.values]);
        let mean = &mean[part.image * groups..][..groups];
        cpu.isa.dispatch(Task { columns: images.columns, x, dy, mean, dgamma, dbeta });
    });
    sums
}

/// Adds the first `len` of every `stride` sums to those of the first, which it returns.
pub(crate) fn add_up(sums: &mut [f64], len: usize, stride: usize) -> &mut [f64] {
    let (total, others) = sums.split_at_mut(stride);
    let total = &mut total[..len];
    for others in others.chunks_exact(stride) {
        total.iter_mut().zip(others).for_each(|(total, other)| *total += other);
    }
    total
}

/// One part of [`gradient_sums`].
struct Task<'a> {
    columns: Columns,
    x: &'a [f32],
    dy: &'a [f32],
    mean: &'a [f32],
    dgamma: &'a mut [f64],
    dbeta: &'a mut [f64],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { columns, x, dy, mean, dgamma, dbeta } = self;
        let (channels, width) = (columns.channels, columns.width());
        let (rows, of_group) = (x.len() / width, channels / mean.len());
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for left in (0..width).step_by(GROUP) {
            let group = GROUP.min(width - left);
            let mut centers = [0.0; GROUP];
            for (column, center) in centers.iter_mut().enumerate().take(group) {
                *center = mean[(left + column) % channels / of_group];
            }
            let (mut group_products, mut group_sums) = ([0.0; GROUP], [0.0; GROUP]);
            for first in (0..rows).step_by(BLOCK) {
                let block = (BLOCK.min(rows - first), group, width);
                let start = first * width + left;
                let [products, sums] = column_sums(s, Products, [&x[start..], &dy[start..]], block, &[centers]);
                for i in 0..group {
                    group_products[i] += f64::from(products[i]);
                    group_sums[i] += f64::from(sums[i]);
                }
            }
            for column in 0..group {
                let channel = (left + column) % channels;
                dgamma[channel] += group_products[column];
                dbeta[channel] += group_sums[column];
            }
        }
        // The last wide row may be cut short. It is added value by value.
        let start = rows * width;
        for (x, dy) in x[start..].chunks_exact(channels).zip(dy[start..].chunks_exact(channels)) {
            for c in 0..channels {
                dgamma[c] += f64::from(dy[c]) * f64::from(x[c] - mean[c / of_group]);
                dbeta[c] += f64::from(dy[c]);
            }
        }
    }
}

/// `dy (x - mean)` and `dy`
#[derive(Clone, Copy)]
struct Products;

impl Terms<2, 1, 2> for Products {
    #[inline(always)]
    fn add<S: Simd>(
        self,
        s: S,
        [x, dy]: [S::F32; 2],
        [mean]: [S::F32; 1],
        [products, sum]: [S::F32; 2],
    ) -> [S::F32; 2] {
        [s.mul_add(dy, s.sub(x, mean), products), s.add(sum, dy)]
    }
}

/// `out (+)= sums`, unless `out` is absent.
pub(crate) fn put_sums(out: &mut [f32], sums: &[f64], write: Write) {
    out.iter_mut().zip(sums).for_each(|(out, sum)| write.put(out, *sum as f32));
}

/// `a`, `b` and `c`, one after another, from the sums of [`backward_sums`].
pub(crate) fn coefficients(
    p: &BatchNormParams,
    [gamma, rstd]: [&[f32]; 2],
    [dgamma, dbeta]: [&[f64]; 2],
    out: &mut [f32],
) {
    let m = p.rows as f64;
    for c in 0..p.channels {
        let rstd = f64::from(rstd[c]);
        let a = f64::from(gamma[c]) * rstd;
        out[c] = a as f32;
        out[p.channels + c] = (-a * rstd * dgamma[c] / m) as f32;
        out[2 * p.channels + c] = (-a * dbeta[c] / m) as f32;
    }
}

/// `dx (+)= gamma rstd (dy - dbeta / m - xhat dgamma / m)`, from the sums of [`backward_sums`]; `dy` is `None` if `dx`
/// holds it.
pub(crate) fn backward_input(
    cpu: &Cpu,
    p: &BatchNormParams,
    [x, gamma, mean, rstd]: [&[f32]; 4],
    [dgamma, dbeta]: [&[f64]; 2],
    dy: Option<&[f32]>,
    (dx, write): (&mut [f32], Write),
) {
    let m = p.rows as f64;
    let f = InputGradient(|channels: Range<usize>, [means, scale, offset, slope]: [&mut [f32]; 4]| {
        for (i, c) in channels.enumerate() {
            let rstd = f64::from(rstd[c]);
            let factor = f64::from(gamma[c]) * rstd;
            means[i] = mean[c];
            scale[i] = factor as f32;
            offset[i] = (factor * dbeta[c] / m) as f32;
            slope[i] = (factor * rstd * dgamma[c] / m) as f32;
        }
    });
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [Some(x), dy], dx, write);
}

/// `dx = scale dy - offset - (x - mean) slope`, with a function that writes mean, scale, offset and slope of some
/// channels.
pub(crate) struct InputGradient<F>(pub(crate) F);

impl<F: Fn(Range<usize>, [&mut [f32]; 4]) + Sync> Channelwise<2, 4> for InputGradient<F> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, out: [&mut [f32]; 4]) {
        (self.0)(channels, out);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x, dy]: [S::F32; 2], [mean, scale, offset, slope]: [S::F32; 4]) -> S::F32 {
        s.neg_mul_add(s.sub(x, mean), slope, s.sub(s.mul(scale, dy), offset))
    }
}
