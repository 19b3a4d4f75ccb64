//! The equations of the [module documentation](super), as naive loops.

use super::params::GroupNormParams;
use crate::pass::Write;

/// The channel of element `i`, and the place of its group's statistics.
fn place(p: &GroupNormParams, i: usize) -> (usize, usize) {
    let (image, c) = (i / p.image_len(), i % p.channels);
    (c, image * p.groups + c / p.of_group())
}

/// `mean` and `rstd` of every group
pub(super) fn statistics(p: &GroupNormParams, x: &[f64], mean: &mut [f64], rstd: &mut [f64]) {
    let m = p.group_len() as f64;
    let mut var = vec![0.0; rstd.len()];
    mean.fill(0.0);
    x.iter().enumerate().for_each(|(i, x)| mean[place(p, i).1] += x / m);
    x.iter().enumerate().for_each(|(i, x)| var[place(p, i).1] += (x - mean[place(p, i).1]).powi(2) / m);
    rstd.iter_mut().zip(var).for_each(|(rstd, var)| *rstd = 1.0 / (var + p.eps).sqrt());
}

/// `y = gamma (y - mean) rstd + beta`
pub(super) fn apply_in_place(p: &GroupNormParams, [gamma, beta, mean, rstd]: [&[f64]; 4], y: &mut [f64]) {
    for (i, y) in y.iter_mut().enumerate() {
        let (c, g) = place(p, i);
        *y = gamma[c] * (*y - mean[g]) * rstd[g] + beta[c];
    }
}

/// `dgamma (+)= sum dy xhat` and `dbeta (+)= sum dy`, unless they are absent
pub(super) fn backward_parameters(
    p: &GroupNormParams,
    [x, _, mean, rstd, dy]: [&[f64]; 5],
    (dgamma, dgamma_write): (&mut [f64], Write),
    (dbeta, dbeta_write): (&mut [f64], Write),
) {
    let mut sums = vec![[0.0; 2]; p.channels];
    for (i, dy) in dy.iter().enumerate() {
        let (c, g) = place(p, i);
        sums[c][0] += dy * (x[i] - mean[g]) * rstd[g];
        sums[c][1] += dy;
    }
    dgamma.iter_mut().zip(&sums).for_each(|(dgamma, sums)| dgamma_write.put(dgamma, sums[0]));
    dbeta.iter_mut().zip(&sums).for_each(|(dbeta, sums)| dbeta_write.put(dbeta, sums[1]));
}

/// `dx (+)= rstd (gamma dy - 1/m sum gamma dy - xhat 1/m sum gamma dy xhat)`
pub(super) fn backward_input(
    p: &GroupNormParams,
    [x, gamma, mean, rstd, dy]: [&[f64]; 5],
    dx: &mut [f64],
    write: Write,
) {
    let m = p.group_len() as f64;
    let xhat = |i: usize, g: usize| (x[i] - mean[g]) * rstd[g];
    let mut sums = vec![[0.0; 2]; p.images * p.groups];
    for (i, dy) in dy.iter().enumerate() {
        let (c, g) = place(p, i);
        sums[g][0] += gamma[c] * dy;
        sums[g][1] += gamma[c] * dy * xhat(i, g);
    }
    for (i, dx) in dx.iter_mut().enumerate() {
        let (c, g) = place(p, i);
        write.put(dx, rstd[g] * (gamma[c] * dy[i] - sums[g][0] / m - xhat(i, g) * sums[g][1] / m));
    }
}
