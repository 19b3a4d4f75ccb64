//! The equations of the [module documentation](super).

use super::params::SgdParams;

/// One step. There is no buffer if it is empty.
pub(super) fn step(p: &SgdParams, param: &mut [f64], grad: &[f64], buffer: &mut [f64]) {
    for i in 0..grad.len() {
        let old = buffer.get(i).copied().unwrap_or(0.0);
        let new;
        [param[i], new] = update(p, [param[i], grad[i], old]);
        if let Some(buffer) = buffer.get_mut(i) {
            *buffer = new;
        }
    }
}

/// Whether a step would leave finite values only.
pub(super) fn stays_finite(p: &SgdParams, param: &[f64], grad: &[f64], buffer: &[f64]) -> bool {
    let buffer = |i: usize| buffer.get(i).copied().unwrap_or(0.0);
    (0..grad.len()).all(|i| update(p, [param[i], grad[i], buffer(i)]).iter().all(|x| x.is_finite()))
}

/// The new `[param, buffer]`.
fn update(p: &SgdParams, [param, grad, buffer]: [f64; 3]) -> [f64; 2] {
    let grad = grad + p.weight_decay * param;
    let buffer = p.momentum * buffer + grad;
    let direction = if p.nesterov { grad + p.momentum * buffer } else { buffer };
    [param - p.lr * direction, buffer]
}
