//! The equations of the [module documentation](super), element by element.

use super::EpilogueParams;
use crate::activation::reference::{derivative, value};

/// `y = f(y) + skip_weight skip`
pub fn forward_inplace(p: &EpilogueParams, skip: &[f64], y: &mut [f64]) {
    if let Some(f) = p.activation {
        y.iter_mut().for_each(|y| *y = value(f, *y));
    }
    y.iter_mut().zip(skip).for_each(|(y, skip)| *y += p.skip_weight * skip);
}

/// `a g + b (x - mean) + c + dy_weight dy`, where `norm` is `[g, x, mean, coefficients]`.
pub fn total(p: &EpilogueParams, norm: [&[f64]; 4], dy: &[f64]) -> Vec<f64> {
    let [g, x, mean, coefficients] = norm;
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
pub fn backward(p: &EpilogueParams, saved: &[f64], total: &[f64], dz: &mut [f64]) {
    for (i, dz) in dz.iter_mut().enumerate() {
        *dz = total[i] * p.activation.map_or(1.0, |f| derivative(f, saved[i]));
    }
}
