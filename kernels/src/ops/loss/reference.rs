//! The equations of the [module documentation](super).

use super::function::Loss;
use crate::pass::Write;

/// The loss.
pub(super) fn forward(loss: Loss, prediction: &[f64], target: &[f64]) -> f64 {
    let errors = prediction.iter().zip(target).map(|(p, t)| p - t);
    let sum: f64 = match loss {
        Loss::L1 => errors.map(f64::abs).sum(),
        Loss::Mse => errors.map(|e| e * e).sum(),
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
        let error = prediction[i] - target[i];
        let slope = match loss {
            Loss::L1 if error == 0.0 => 0.0,
            Loss::L1 => error.signum(),
            Loss::Mse => 2.0 * error,
        };
        write.put(out, scale * slope);
    }
}
