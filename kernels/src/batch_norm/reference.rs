//! The equations of the [module documentation](super), channel by channel.

use super::BatchNormParams;
use crate::Write;

/// Statistics of one batch and the state they update, each `[channels]`.
#[derive(Debug)]
pub struct Statistics<'a> {
    /// Running mean, updated.
    pub running_mean: &'a mut [f64],
    /// Running variance, updated.
    pub running_var: &'a mut [f64],
    /// Mean of the batch, written.
    pub mean: &'a mut [f64],
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub rstd: &'a mut [f64],
}

/// Mean, and variance with divisor `rows`, of every channel of `x`.
pub fn moments(x: &[f64], mean: &mut [f64], var: &mut [f64]) {
    let channels = mean.len();
    let m = (x.len() / channels) as f64;
    for c in 0..channels {
        let column = || x.iter().skip(c).step_by(channels);
        mean[c] = column().sum::<f64>() / m;
        var[c] = column().map(|x| (x - mean[c]).powi(2)).sum::<f64>() / m;
    }
}

/// The running statistics after a batch with these moments.
pub fn update_running(
    p: &BatchNormParams,
    [mean, var]: [&[f64]; 2],
    running_mean: &mut [f64],
    running_var: &mut [f64],
) {
    let m = p.rows as f64;
    for c in 0..p.channels {
        running_mean[c] += p.momentum * (mean[c] - running_mean[c]);
        if p.rows > 1 {
            running_var[c] += p.momentum * (var[c] * m / (m - 1.0) - running_var[c]);
        }
    }
}

/// `1 / sqrt(var + eps)`
pub fn rstd(p: &BatchNormParams, var: &[f64]) -> Vec<f64> {
    var.iter().map(|var| 1.0 / (var + p.eps).sqrt()).collect()
}

/// `mean` and `rstd` of `x`, and the running statistics.
pub fn statistics(p: &BatchNormParams, x: &[f64], out: Statistics<'_>) {
    let mut var = vec![0.0; p.channels];
    moments(x, out.mean, &mut var);
    out.rstd.copy_from_slice(&rstd(p, &var));
    update_running(p, [out.mean, &var], out.running_mean, out.running_var);
}

/// `y = gamma (y - mean) rstd + beta`, in place.
pub fn apply_inplace(gamma: &[f64], beta: &[f64], mean: &[f64], rstd: &[f64], y: &mut [f64]) {
    for (i, y) in y.iter_mut().enumerate() {
        let c = i % gamma.len();
        *y = gamma[c] * (*y - mean[c]) * rstd[c] + beta[c];
    }
}

/// `dbeta = sum dy` and `dgamma = sum dy xhat`.
pub fn backward_sums(channels: usize, x: &[f64], mean: &[f64], rstd: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    for (i, dy) in dy.iter().enumerate() {
        let c = i % channels;
        dbeta[c] += dy;
        dgamma[c] += dy * (x[i] - mean[c]) * rstd[c];
    }
    (dgamma, dbeta)
}

/// `dx (+)= gamma rstd (dy - dbeta / m - xhat dgamma / m)`, where `sums` is `(dgamma, dbeta)`.
#[allow(clippy::too_many_arguments)]
pub fn backward_input(
    p: &BatchNormParams,
    x: &[f64],
    gamma: &[f64],
    mean: &[f64],
    rstd: &[f64],
    (dgamma, dbeta): (&[f64], &[f64]),
    dy: &[f64],
    dx: &mut [f64],
    write: Write,
) {
    let m = p.rows as f64;
    for (i, (dx, dy)) in dx.iter_mut().zip(dy).enumerate() {
        let c = i % p.channels;
        let xhat = (x[i] - mean[c]) * rstd[c];
        write.put(dx, gamma[c] * rstd[c] * (dy - dbeta[c] / m - xhat * dgamma[c] / m));
    }
}
