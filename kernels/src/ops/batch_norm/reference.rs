//! The oracle: the equations of the [module documentation](super), as naive loops.

use super::params::BatchNormParams;
use crate::pass::Write;

/// Mean, and variance with divisor `rows`, of every channel of `x`.
pub(crate) fn batch_stats(x: &[f64], mean: &mut [f64], var: &mut [f64]) {
    let channels = mean.len();
    let m = (x.len() / channels) as f64;
    for c in 0..channels {
        let column = || x.iter().skip(c).step_by(channels);
        mean[c] = column().sum::<f64>() / m;
        var[c] = column().map(|x| (x - mean[c]).powi(2)).sum::<f64>() / m;
    }
}

/// The running statistics after a batch with this mean and variance.
pub(crate) fn update_running(
    p: &BatchNormParams,
    [mean, var]: [&[f64]; 2],
    [running_mean, running_var]: [&mut [f64]; 2],
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
pub(crate) fn rstd(p: &BatchNormParams, var: &[f64]) -> Vec<f64> {
    var.iter().map(|var| 1.0 / (var + p.eps).sqrt()).collect()
}

/// `y = gamma (y - mean) rstd + beta`
pub(crate) fn apply_in_place([gamma, beta, mean, rstd]: [&[f64]; 4], y: &mut [f64]) {
    for (i, y) in y.iter_mut().enumerate() {
        let c = i % gamma.len();
        *y = gamma[c] * (*y - mean[c]) * rstd[c] + beta[c];
    }
}

/// `scale = gamma rstd` and `shift = beta - scale mean`
pub(crate) fn fold([gamma, beta, mean, rstd]: [&[f64]; 4], scale: &mut [f64], shift: &mut [f64]) {
    for c in 0..gamma.len() {
        scale[c] = gamma[c] * rstd[c];
        shift[c] = beta[c] - scale[c] * mean[c];
    }
}

/// `[dgamma, dbeta]`: `dgamma = sum dy xhat` and `dbeta = sum dy`
pub(crate) fn backward_sums(p: &BatchNormParams, [x, mean, rstd, dy]: [&[f64]; 4]) -> [Vec<f64>; 2] {
    let (mut dgamma, mut dbeta) = (vec![0.0; p.channels], vec![0.0; p.channels]);
    for (i, dy) in dy.iter().enumerate() {
        let c = i % p.channels;
        dbeta[c] += dy;
        dgamma[c] += dy * (x[i] - mean[c]) * rstd[c];
    }
    [dgamma, dbeta]
}

/// `out (+)= values`, unless `out` is absent
pub(crate) fn put(out: &mut [f64], values: &[f64], write: Write) {
    for (out, value) in out.iter_mut().zip(values) {
        write.put(out, *value);
    }
}

/// `dx (+)= gamma rstd (dy - dbeta / m - xhat dgamma / m)`, unless `dx` is absent
pub(crate) fn backward_input(
    p: &BatchNormParams,
    [x, gamma, mean, rstd, dy]: [&[f64]; 5],
    [dgamma, dbeta]: &[Vec<f64>; 2],
    dx: &mut [f64],
    write: Write,
) {
    let m = p.rows as f64;
    for (i, dx) in dx.iter_mut().enumerate() {
        let c = i % p.channels;
        let xhat = (x[i] - mean[c]) * rstd[c];
        write.put(dx, gamma[c] * rstd[c] * (dy[i] - dbeta[c] / m - xhat * dgamma[c] / m));
    }
}

/// `a = gamma rstd`, `b = -a rstd dgamma / m` and `c = -a dbeta / m`, one after another
pub(crate) fn coefficients(
    p: &BatchNormParams,
    [gamma, rstd]: [&[f64]; 2],
    [dgamma, dbeta]: &[Vec<f64>; 2],
    out: &mut [f64],
) {
    let m = p.rows as f64;
    for c in 0..p.channels {
        let a = gamma[c] * rstd[c];
        out[c] = a;
        out[p.channels + c] = -a * rstd[c] * dgamma[c] / m;
        out[2 * p.channels + c] = -a * dbeta[c] / m;
    }
}
