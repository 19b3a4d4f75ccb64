//! The equations of the [module documentation](super).

use super::params::AdamWParams;

/// One step.
pub(super) fn step(p: &AdamWParams, param: &mut [f64], grad: &[f64], m: &mut [f64], v: &mut [f64]) {
    let (correction1, correction2) = p.bias_corrections();
    for i in 0..param.len() {
        param[i] -= p.lr * p.weight_decay * param[i];
        m[i] = p.beta1 * m[i] + (1.0 - p.beta1) * grad[i];
        v[i] = p.beta2 * v[i] + (1.0 - p.beta2) * grad[i] * grad[i];
        param[i] -= p.lr / correction1 * m[i] / ((v[i] / correction2).sqrt() + p.eps);
    }
}
