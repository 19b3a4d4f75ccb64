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
    let scale = |channels: Range<usize>, out: &mut [f32]| {
        for ((out, gamma), rstd) in out.iter_mut().zip(&gamma[channels.clone()]).zip(&rstd[channels]) {
            *out = gamma * rstd;
        }
    };
    let f = Normalize { mean, beta, scale };
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
    let scale = |channels: Range<usize>, out: &mut [f32]| {
        for ((out, gamma), var) in out.iter_mut().zip(&gamma[channels.clone()]).zip(&var[channels]) {
            *out = (f64::from(*gamma) / (f64::from(*var) + p.eps).sqrt()) as f32;
        }
    };
    let f = Normalize { mean, beta, scale };
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// `(x - mean) scale + beta`. This is precise where `mean` is much larger than the deviation; `x scale + offset` is
/// not.
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
