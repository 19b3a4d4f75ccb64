//! SIMD implementation of the [module documentation](super)'s equations.

use super::BatchNormParams;
use crate::cpu::{as_f64, f64_workspace_len};
use crate::map::{Channelwise, Columns, map_channels};
use crate::parallel::SharedSlice;
use crate::simd::Simd;
use crate::{Cpu, Write};

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

/// `mean` and `rstd` of `x`, and the running statistics.
pub fn statistics(cpu: &Cpu, p: &BatchNormParams, x: &[f32], out: Statistics<'_>, workspace: &mut [f32]) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let channels = p.channels;
    let partials = &mut as_f64(workspace)[..columns.tasks() * 2 * channels];
    let shared = SharedSlice::new(partials);
    cpu.pool.for_each(columns.tasks(), |task| {
        // SAFETY: every task has its own part.
        let (mean, m2) = unsafe { shared.slice(task * 2 * channels, 2 * channels) }.split_at_mut(channels);
        let x = &x[columns.task(task)];
        let rows = (x.len() / channels) as f64;
        mean.fill(0.0);
        m2.fill(0.0);
        for row in x.chunks_exact(channels) {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += f64::from(*x));
        }
        mean.iter_mut().for_each(|mean| *mean /= rows);
        for row in x.chunks_exact(channels) {
            for c in 0..channels {
                m2[c] += (f64::from(row[c]) - mean[c]).powi(2);
            }
        }
    });
    let (total, others) = partials.split_at_mut(2 * channels);
    let (mean, m2) = total.split_at_mut(channels);
    let mut count = (columns.task(0).len() / channels) as f64;
    for (task, part) in others.chunks_exact(2 * channels).enumerate() {
        let added = (columns.task(task + 1).len() / channels) as f64;
        let share = added / (count + added);
        for c in 0..channels {
            let difference = part[c] - mean[c];
            mean[c] += difference * share;
            m2[c] += part[channels + c] + difference * difference * count * share;
        }
        count += added;
    }
    for c in 0..channels {
        out.mean[c] = mean[c] as f32;
        out.rstd[c] = (1.0 / (m2[c] / count + p.eps).sqrt()) as f32;
        if p.momentum != 0.0 {
            let update = |running: f32, new: f64| (f64::from(running) + p.momentum * (new - f64::from(running))) as f32;
            out.running_mean[c] = update(out.running_mean[c], mean[c]);
            if p.rows > 1 {
                out.running_var[c] = update(out.running_var[c], m2[c] / (count - 1.0));
            }
        }
    }
}

/// Scratch of [`statistics`] and [`backward_sums`], in elements.
pub fn workspace_len(cpu: &Cpu, p: &BatchNormParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * 2 * p.channels)
}

/// `y = gamma (x - mean) rstd + beta`; `x` is `None` if `y` holds it.
pub fn apply(cpu: &Cpu, p: &BatchNormParams, x: Option<&[f32]>, [gamma, beta, mean, rstd]: [&[f32]; 4], y: &mut [f32]) {
    let f = Normalize { coefficients: |c: usize| [mean[c], gamma[c] * rstd[c], beta[c]] };
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
    let scale = |c: usize| (f64::from(gamma[c]) / (f64::from(var[c]) + p.eps).sqrt()) as f32;
    let f = Normalize { coefficients: |c: usize| [mean[c], scale(c), beta[c]] };
    map_channels(cpu, Columns::new(cpu, p.rows, p.channels), &f, [x], y, Write::Set);
}

/// `(x - mean) scale + beta`, which is precise where `mean` is much larger than the deviation.
struct Normalize<C> {
    coefficients: C,
}

impl<C: Fn(usize) -> [f32; 3] + Send + Sync> Channelwise<1, 3> for Normalize<C> {
    #[inline(always)]
    fn coefficients(&self, channel: usize) -> [f32; 3] {
        (self.coefficients)(channel)
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x]: [S::F32; 1], [mean, scale, beta]: [S::F32; 3]) -> S::F32 {
        s.mul_add(s.sub(x, mean), scale, beta)
    }
}

/// `dgamma` and `dbeta`, left in the workspace for [`backward_input`]: `[channels]` each.
pub fn backward_sums<'a>(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: &[f32],
    [mean, rstd]: [&[f32]; 2],
    dy: &[f32],
    workspace: &'a mut [f32],
) -> [&'a [f64]; 2] {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let channels = p.channels;
    let partials = &mut as_f64(workspace)[..columns.tasks() * 2 * channels];
    let shared = SharedSlice::new(partials);
    cpu.pool.for_each(columns.tasks(), |task| {
        // SAFETY: every task has its own part.
        let (dgamma, dbeta) = unsafe { shared.slice(task * 2 * channels, 2 * channels) }.split_at_mut(channels);
        let range = columns.task(task);
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (x, dy) in x[range.clone()].chunks_exact(channels).zip(dy[range].chunks_exact(channels)) {
            for c in 0..channels {
                dgamma[c] += f64::from(dy[c]) * f64::from(x[c] - mean[c]);
                dbeta[c] += f64::from(dy[c]);
            }
        }
    });
    let (total, others) = partials.split_at_mut(2 * channels);
    for part in others.chunks_exact(2 * channels) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    let (dgamma, dbeta) = total.split_at_mut(channels);
    dgamma.iter_mut().zip(rstd).for_each(|(dgamma, rstd)| *dgamma *= f64::from(*rstd));
    [dgamma, dbeta]
}

/// `dx (+)= gamma rstd (dy - dbeta / m - xhat dgamma / m)`; `dy` is `None` if `dx` holds it.
#[allow(clippy::too_many_arguments)]
pub fn backward_input(
    cpu: &Cpu,
    p: &BatchNormParams,
    x: &[f32],
    [gamma, mean, rstd]: [&[f32]; 3],
    [dgamma, dbeta]: [&[f64]; 2],
    dy: Option<&[f32]>,
    dx: &mut [f32],
    write: Write,
) {
    let coefficients = |c: usize| {
        let rstd = f64::from(rstd[c]);
        let scale = f64::from(gamma[c]) * rstd;
        let m = p.rows as f64;
        [mean[c], scale as f32, (scale * dbeta[c] / m) as f32, (scale * rstd * dgamma[c] / m) as f32]
    };
    let columns = Columns::new(cpu, p.rows, p.channels);
    map_channels(cpu, columns, &InputGradient { coefficients }, [Some(x), dy], dx, write);
}

struct InputGradient<C> {
    coefficients: C,
}

impl<C: Fn(usize) -> [f32; 4] + Send + Sync> Channelwise<2, 4> for InputGradient<C> {
    #[inline(always)]
    fn coefficients(&self, channel: usize) -> [f32; 4] {
        (self.coefficients)(channel)
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x, dy]: [S::F32; 2], [mean, scale, b, d]: [S::F32; 4]) -> S::F32 {
        s.neg_mul_add(s.sub(x, mean), d, s.sub(s.mul(dy, scale), b))
    }
}
