//! The equations of the [module documentation](super).

use super::function::{CHARBONNIER_EPSILON, Loss};
use crate::pass::Write;

/// The loss.
pub(super) fn forward(loss: Loss, prediction: &[f64], target: &[f64]) -> f64 {
    let pairs = prediction.iter().zip(target);
    let sum: f64 = match loss {
        Loss::L1 => pairs.map(|(p, t)| (p - t).abs()).sum(),
        Loss::Mse => pairs.map(|(p, t)| (p - t) * (p - t)).sum(),
        Loss::Charbonnier => pairs.map(|(p, t)| root(p - t)).sum(),
        Loss::BceWithLogits => pairs.map(|(p, t)| positive_part(*p) - p * t + (-p.abs()).exp().ln_1p()).sum(),
    };
    sum / prediction.len() as f64
}

/// `dprediction (+)= dloss l'(prediction)`
pub(super) fn backward(
    loss: Loss,
    [prediction, target]: [&[f64]; 2],
    dloss: f64,
    dprediction: &mut [f64],
    write: Write,
) {
    let scale = dloss / prediction.len() as f64;
    for (i, out) in dprediction.iter_mut().enumerate() {
        let (p, t) = (prediction[i], target[i]);
        let slope = match loss {
            Loss::L1 if p == t => 0.0,
            Loss::L1 => (p - t).signum(),
            Loss::Mse => 2.0 * (p - t),
            Loss::Charbonnier => (p - t) / root(p - t),
            Loss::BceWithLogits => 1.0 / (1.0 + (-p).exp()) - t,
        };
        write.put(out, scale * slope);
    }
}

/// What an error adds to Charbonnier's loss.
fn root(error: f64) -> f64 {
    (error * error + CHARBONNIER_EPSILON * CHARBONNIER_EPSILON).sqrt()
}

/// NaN where `x` is.
fn positive_part(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}
