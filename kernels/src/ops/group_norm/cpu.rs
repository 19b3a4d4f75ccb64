//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Moments and sums are those of [batch normalization](crate::batch_norm), of each channel in each image. Those of the
//! channels of a group are put together.

use super::params::GroupNormParams;
use crate::host::{Cpu, f64_workspace_len};
use crate::loops::{Columns, Images, map_images};
use crate::ops::batch_norm::cpu::{InputGradient, Normalize, add_up, gradient_sums, merge_parts, moments};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use std::ops::Range;

fn images(cpu: &Cpu, p: &GroupNormParams) -> Images {
    Images { count: p.images, columns: Columns::new(cpu, p.rows, p.channels) }
}

/// Scratch of [`statistics`], in elements: two f64 a channel and part of an image.
pub(super) fn statistics_workspace_len(cpu: &Cpu, p: &GroupNormParams) -> usize {
    f64_workspace_len(images(cpu, p).parts() * 2 * p.channels)
}

/// `mean` and `rstd` of every group
pub(super) fn statistics(
    cpu: &Cpu,
    p: &GroupNormParams,
    x: &[f32],
    [mean, rstd]: [&mut [f32]; 2],
    workspace: &mut [f32],
) {
    let images = images(cpu, p);
    let parts = moments(cpu, images, x, workspace);
    let parts_len = parts.len() / p.images;
    let (parts, mean, rstd) = (SharedSlice::new(parts), SharedSlice::new(mean), SharedSlice::new(rstd));
    cpu.pool.for_each(p.images, |image| {
        // SAFETY: images do not overlap.
        let parts = unsafe { parts.slice(image * parts_len, parts_len) };
        // SAFETY: as above.
        let [mean, rstd] = [mean, rstd].map(|all| unsafe { all.slice(image * p.groups, p.groups) });
        let [means, m2] = merge_parts(images.columns, parts);
        for g in 0..p.groups {
            // Of channels that have equally many values.
            let channels = g * p.of_group()..(g + 1) * p.of_group();
            let of_mean = means[channels.clone()].iter().sum::<f64>() / p.of_group() as f64;
            let of_m2: f64 = channels.map(|c| m2[c] + p.rows as f64 * (means[c] - of_mean).powi(2)).sum();
            mean[g] = of_mean as f32;
            rstd[g] = (1.0 / (of_m2 / p.group_len() as f64 + p.eps).sqrt()) as f32;
        }
    });
}

/// `y = gamma (x - mean) rstd + beta`; `x` is `None` if `y` holds it.
pub(super) fn apply(
    cpu: &Cpu,
    p: &GroupNormParams,
    x: Option<&[f32]>,
    [gamma, beta, mean, rstd]: [&[f32]; 4],
    y: &mut [f32],
) {
    let of_image = |image: usize| {
        let [mean, rstd] = [mean, rstd].map(|all| &all[image * p.groups..][..p.groups]);
        Normalize(move |channels: Range<usize>, [means, scale, betas]: [&mut [f32]; 3]| {
            betas.copy_from_slice(&beta[channels.clone()]);
            for (i, c) in channels.enumerate() {
                let g = c / p.of_group();
                means[i] = mean[g];
                scale[i] = gamma[c] * rstd[g];
            }
        })
    };
    map_images(cpu, images(cpu, p), of_image, [x], y, Write::Set);
}

/// What the gradients are made of.
pub(super) struct Sums<'a> {
    /// `sum dy xhat` of every channel.
    pub(super) dgamma: &'a [f64],
    /// `sum dy` of every channel.
    pub(super) dbeta: &'a [f64],
    /// Of each image, one after another, what the groups subtract from the gradient of the input: a constant, and a
    /// factor of `x - mean`.
    subtracted: &'a [f32],
}

/// Scratch of [`backward_sums`], in elements: two f64 a channel and part of an image, and two f32 a group and image.
pub(super) fn backward_workspace_len(cpu: &Cpu, p: &GroupNormParams) -> usize {
    statistics_workspace_len(cpu, p) + 2 * p.images * p.groups
}

/// The sums that all gradients are made of. They lie in the workspace.
pub(super) fn backward_sums<'a>(
    cpu: &Cpu,
    p: &GroupNormParams,
    [x, gamma, mean, rstd]: [&[f32]; 4],
    dy: &[f32],
    workspace: &'a mut [f32],
) -> Sums<'a> {
    let (workspace, subtracted) = workspace.split_at_mut(statistics_workspace_len(cpu, p));
    let sums = gradient_sums(cpu, images(cpu, p), [x, dy], mean, workspace);
    let (len, parts_len) = (2 * p.channels, sums.len() / p.images);
    let (all_sums, all_subtracted) = (SharedSlice::new(sums), SharedSlice::new(subtracted));
    cpu.pool.for_each(p.images, |image| {
        // SAFETY: images do not overlap.
        let sums = unsafe { all_sums.slice(image * parts_len, parts_len) };
        // SAFETY: as above.
        let subtracted = unsafe { all_subtracted.slice(image * 2 * p.groups, 2 * p.groups) };
        let (of_products, of_dy) = add_up(sums, len, len).split_at_mut(p.channels);
        let (constant, factor) = subtracted.split_at_mut(p.groups);
        for g in 0..p.groups {
            let rstd = f64::from(rstd[image * p.groups + g]);
            let (mut products, mut gradients) = (0.0, 0.0);
            for c in g * p.of_group()..(g + 1) * p.of_group() {
                of_products[c] *= rstd;
                products += f64::from(gamma[c]) * of_products[c];
                gradients += f64::from(gamma[c]) * of_dy[c];
            }
            let share = rstd / p.group_len() as f64;
            constant[g] = (share * gradients) as f32;
            factor[g] = (share * rstd * products) as f32;
        }
    });
    // The first part of an image has the sums of all its parts.
    let (dgamma, dbeta) = add_up(sums, len, parts_len).split_at(p.channels);
    Sums { dgamma, dbeta, subtracted }
}

/// `dx (+)= rstd (gamma dy - 1/m sum gamma dy - xhat 1/m sum gamma dy xhat)`; `dy` is `None` if `dx` holds it.
pub(super) fn backward_input(
    cpu: &Cpu,
    p: &GroupNormParams,
    [x, gamma, mean, rstd]: [&[f32]; 4],
    sums: &Sums<'_>,
    dy: Option<&[f32]>,
    (dx, write): (&mut [f32], Write),
) {
    let of_image = |image: usize| {
        let [mean, rstd] = [mean, rstd].map(|all| &all[image * p.groups..][..p.groups]);
        let (constant, factor) = sums.subtracted[image * 2 * p.groups..][..2 * p.groups].split_at(p.groups);
        InputGradient(move |channels: Range<usize>, [means, scale, offset, slope]: [&mut [f32]; 4]| {
            for (i, c) in channels.enumerate() {
                let g = c / p.of_group();
                means[i] = mean[g];
                scale[i] = gamma[c] * rstd[g];
                offset[i] = constant[g];
                slope[i] = factor[g];
            }
        })
    };
    map_images(cpu, images(cpu, p), of_image, [Some(x), dy], dx, write);
}
