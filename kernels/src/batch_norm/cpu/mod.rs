//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Sums over rows are taken in blocks of 256 rows in f32, and from block to block in f64, in the order of the rows. A
//! task leaves its sums in the workspace, and they are added up in the order of the tasks.

mod backward;
mod statistics;

pub use backward::{backward_input, backward_sums};
pub use statistics::{Statistics, moments, statistics, update_running};
pub(crate) use statistics::{merge, merge_moments};

use super::BatchNormParams;
use crate::cpu::f64_workspace_len;
use crate::loops::{Channelwise, Columns, map_channels};
use crate::simd::Simd;
use crate::{Cpu, Write};
use std::ops::Range;

/// Wide rows that are added up in f32: few enough that they round no more than the terms do, and that the 64 columns of a
/// group stay in the second-level cache from the first sum to the next.
const BLOCK: usize = 256;

/// Scratch of [`statistics()`] and [`backward_sums`], in elements: two f64 a channel and task.
pub fn workspace_len(cpu: &Cpu, p: &BatchNormParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * 2 * p.channels)
}

/// `scale = gamma rstd`, `shift = beta - scale mean` and, unless it is empty, `rstd = 1 / sqrt(var + eps)`.
pub fn fold(
    p: &BatchNormParams,
    [gamma, beta, mean, var]: [&[f32]; 4],
    rstd: &mut [f32],
    scale: &mut [f32],
    shift: &mut [f32],
) {
    for c in 0..p.channels {
        let reciprocal = 1.0 / (f64::from(var[c]) + p.eps).sqrt();
        let factor = f64::from(gamma[c]) * reciprocal;
        scale[c] = factor as f32;
        shift[c] = (f64::from(beta[c]) - factor * f64::from(mean[c])) as f32;
        if let Some(rstd) = rstd.get_mut(c) {
            *rstd = reciprocal as f32;
        }
    }
}

/// Writes the sums of [`backward_sums`] as a gradient, unless `out` is empty.
pub fn put_sums(p: &BatchNormParams, out: &mut [f32], sums: &[f64], write: Write) {
    assert!(out.is_empty() || out.len() == p.channels, "{p:?}");
    out.iter_mut().zip(sums).for_each(|(out, sum)| write.put(out, *sum as f32));
}

/// The coefficients of the input's gradient, from the sums of [`backward_sums`].
pub fn coefficients(p: &BatchNormParams, [gamma, rstd]: [&[f32]; 2], [dgamma, dbeta]: [&[f64]; 2], out: &mut [f32]) {
    let m = p.rows as f64;
    for c in 0..p.channels {
        let rstd = f64::from(rstd[c]);
        let a = f64::from(gamma[c]) * rstd;
        out[c] = a as f32;
        out[p.channels + c] = (-a * rstd * dgamma[c] / m) as f32;
        out[2 * p.channels + c] = (-a * dbeta[c] / m) as f32;
    }
}

/// `y = gamma (x - mean) rstd + beta`; `x` is `None` if `y` holds it.
pub fn apply(cpu: &Cpu, p: &BatchNormParams, x: Option<&[f32]>, [gamma, beta, mean, rstd]: [&[f32]; 4], y: &mut [f32]) {
    let scale = |channels: Range<usize>, out: &mut [f32]| {
        for ((out, gamma), rstd) in out.iter_mut().zip(&gamma[channels.clone()]).zip(&rstd[channels]) {
            *out = gamma * rstd;
        }
    };
    let f = Normalize { mean, beta, scale };
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// `y = gamma (x - mean) / sqrt(var + eps) + beta`; `x` is `None` if `y` holds it.
pub fn inference(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: Option<&[f32]>,
    [gamma, beta, mean, var]: [&[f32]; 4],
    y: &mut [f32],
) {
    let scale = |channels: Range<usize>, out: &mut [f32]| {
        for ((out, gamma), var) in out.iter_mut().zip(&gamma[channels.clone()]).zip(&var[channels]) {
            *out = (f64::from(*gamma) / (f64::from(*var) + p.eps).sqrt()) as f32;
        }
    };
    let f = Normalize { mean, beta, scale };
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// `(x - mean) scale + beta`, which is precise where `mean` is much larger than the deviation, as `x scale + offset` is not.
struct Normalize<'a, F> {
    mean: &'a [f32],
    beta: &'a [f32],
    /// Writes the scales of some channels.
    scale: F,
}

impl<F: Fn(Range<usize>, &mut [f32]) + Sync> Channelwise<1, 3> for Normalize<'_, F> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, [mean, scale, beta]: [&mut [f32]; 3]) {
        mean.copy_from_slice(&self.mean[channels.clone()]);
        beta.copy_from_slice(&self.beta[channels.clone()]);
        (self.scale)(channels, scale);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x]: [S::F32; 1], [mean, scale, beta]: [S::F32; 3]) -> S::F32 {
        s.mul_add(s.sub(x, mean), scale, beta)
    }
}
