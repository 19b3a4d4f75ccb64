//! The equations of the [module documentation](super).

use super::params::AdamWParams;

/// One step.
pub(super) fn step(p: &AdamWParams, param: &mut [f64], grad: &[f64], m: &mut [f64], v: &mut [f64]) {
    for i in 0..param.len() {
        [param[i], m[i], v[i]] = update(p, [param[i], grad[i], m[i], v[i]]);
    }
}

/// Whether a step would leave finite values only.
pub(super) fn stays_finite(p: &AdamWParams, [param, grad, m, v]: [&[f64]; 4]) -> bool {
    (0..grad.len()).all(|i| update(p, [param[i], grad[i], m[i], v[i]]).iter().all(|x| x.is_finite()))
}

/// The new `[param, m, v]`.
fn update(p: &AdamWParams, [param, grad, m, v]: [f64; 4]) -> [f64; 3] {
    let (correction1, correction2) = p.bias_corrections();
    let param = param - p.lr * p.weight_decay * param;
    let m = p.beta1 * m + (1.0 - p.beta1) * grad;
    let v = p.beta2 * v + (1.0 - p.beta2) * grad * grad;
    [param - p.lr / correction1 * m / ((v / correction2).sqrt() + p.eps), m, v]
}
