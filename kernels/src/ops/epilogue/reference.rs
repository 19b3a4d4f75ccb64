//! The oracle: the equations of the [module documentation](super), element by element.

use super::params::EpilogueParams;
use crate::ops::activation::reference::{derivative, value};
use crate::pass::Write;

/// `y = f(y) + skip_weight skip`; `skip` is empty if it is absent.
pub(super) fn forward_in_place(p: &EpilogueParams, skip: &[f64], y: &mut [f64]) {
    for (i, y) in y.iter_mut().enumerate() {
        if let Some(f) = p.activation {
            *y = value(f, *y);
        }
        if !skip.is_empty() {
            *y += p.skip_weight * skip[i];
        }
    }
}

/// `a g + b (x - mean) + c + dy_weight dy`; `g` or `dy` is empty if it is absent.
pub(super) fn total(p: &EpilogueParams, [g, x, mean, coefficients]: [&[f64]; 4], dy: &[f64]) -> Vec<f64> {
    let mut total = vec![0.0; p.len()];
    for (i, total) in total.iter_mut().enumerate() {
        if !g.is_empty() {
            let c = i % p.channels;
            let [a, b, offset] = [0, 1, 2].map(|k| coefficients[k * p.channels + c]);
            *total = a * g[i] + b * (x[i] - mean[c]) + offset;
        }
        if !dy.is_empty() {
            *total += p.dy_weight * dy[i];
        }
    }
    total
}

/// `dz = total f'`
pub(super) fn backward(p: &EpilogueParams, saved: &[f64], total: &[f64], dz: &mut [f64]) {
    for (i, dz) in dz.iter_mut().enumerate() {
        *dz = total[i] * p.activation.map_or(1.0, |f| derivative(f, saved[i]));
    }
}

/// `db (+)= sum of the rows of dz`
pub(super) fn grad_bias(dz: &[f64], db: &mut [f64], write: Write) {
    let channels = db.len();
    if write == Write::Set {
        db.fill(0.0);
    }
    for (i, dz) in dz.iter().enumerate() {
        db[i % channels] += dz;
    }
}
