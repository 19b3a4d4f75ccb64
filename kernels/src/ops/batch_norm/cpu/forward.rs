//! `y`, and the affine map that makes it.

use crate::host::Cpu;
use crate::loops::{Channelwise, Columns, map_channels};
use crate::ops::batch_norm::params::BatchNormParams;
use crate::pass::Write;
use crate::simd::Simd;
use std::ops::Range;

/// `y = gamma (x - mean) rstd + beta`; `x` is `None` if `y` holds it.
pub(crate) fn apply(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: Option<&[f32]>,
    [gamma, beta, mean, rstd]: [&[f32]; 4],
    y: &mut [f32],
) {
    let f = Normalize(of_batch([gamma, beta, mean, rstd]));
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// `y = gamma (x - mean) / sqrt(var + eps) + beta`; `x` is `None` if `y` holds it.
pub(crate) fn inference(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: Option<&[f32]>,
    [gamma, beta, mean, var]: [&[f32]; 4],
    y: &mut [f32],
) {
    let f = Normalize(of_running(p, [gamma, beta, mean, var]));
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// The coefficients of [`Normalize`] with the statistics of a batch.
pub(crate) fn of_batch(
    [gamma, beta, mean, rstd]: [&[f32]; 4],
) -> impl Fn(Range<usize>, [&mut [f32]; 3]) + Sync + use<'_> {
    move |channels: Range<usize>, [means, scale, betas]: [&mut [f32]; 3]| {
        means.copy_from_slice(&mean[channels.clone()]);
        betas.copy_from_slice(&beta[channels.clone()]);
        for ((scale, gamma), rstd) in scale.iter_mut().zip(&gamma[channels.clone()]).zip(&rstd[channels]) {
            *scale = gamma * rstd;
        }
    }
}

/// The coefficients of [`Normalize`] with the running statistics.
pub(crate) fn of_running<'a>(
    p: &BatchNormParams,
    [gamma, beta, mean, var]: [&'a [f32]; 4],
) -> impl Fn(Range<usize>, [&mut [f32]; 3]) + Sync + use<'a> {
    let eps = p.eps;
    move |channels: Range<usize>, [means, scale, betas]: [&mut [f32]; 3]| {
        means.copy_from_slice(&mean[channels.clone()]);
        betas.copy_from_slice(&beta[channels.clone()]);
        for ((scale, gamma), var) in scale.iter_mut().zip(&gamma[channels.clone()]).zip(&var[channels]) {
            *scale = (f64::from(*gamma) / (f64::from(*var) + eps).sqrt()) as f32;
        }
    }
}

/// `(x - mean) scale + beta`, with a function that writes mean, scale and beta of some channels. This is precise where
/// `mean` is much larger than the deviation; `x scale + offset` is not.
pub(crate) struct Normalize<F>(pub(crate) F);

impl<F: Fn(Range<usize>, [&mut [f32]; 3]) + Sync> Channelwise<1, 3> for Normalize<F> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, out: [&mut [f32]; 3]) {
        (self.0)(channels, out);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x]: [S::F32; 1], [mean, scale, beta]: [S::F32; 3]) -> S::F32 {
        s.mul_add(s.sub(x, mean), scale, beta)
    }
}

/// `scale = gamma rstd`, `shift = beta - scale mean` and, unless it is absent, `rstd = 1 / sqrt(var + eps)`.
pub(crate) fn fold(
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
