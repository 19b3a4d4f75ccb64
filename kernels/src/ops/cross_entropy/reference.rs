//! The equations of the [module documentation](super).

use super::params::{CrossEntropyParams, Target};
use crate::pass::Write;

/// The loss, and the number of rows that count.
pub(super) fn forward(p: &CrossEntropyParams, logits: &[f64], targets: &[f64]) -> [f64; 2] {
    let (mut sum, mut count) = (0.0, 0.0);
    for (x, &target) in logits.chunks_exact(p.classes).zip(targets) {
        let target = p.target(target);
        if target == Target::Ignored {
            continue;
        }
        count += 1.0;
        let log_softmax = log_softmax(x);
        for (k, log) in log_softmax.iter().enumerate() {
            let share = share(p, target, k);
            // A share of 0 takes nothing, also from a logit of -inf.
            if share != 0.0 {
                sum -= share * log;
            }
        }
        // Where no share takes it: a NaN or +inf in another class.
        sum += 0.0 * log_softmax.iter().filter(|log| log.is_nan()).sum::<f64>();
    }
    [sum / count, count]
}

/// `dlogits (+)= scale (softmax - q)`
pub(super) fn backward(
    p: &CrossEntropyParams,
    [logits, targets]: [&[f64]; 2],
    scale: f64,
    dlogits: &mut [f64],
    write: Write,
) {
    let rows = logits.chunks_exact(p.classes).zip(dlogits.chunks_exact_mut(p.classes));
    for ((x, dx), &target) in rows.zip(targets) {
        let target = p.target(target);
        for (k, (log, dx)) in log_softmax(x).into_iter().zip(dx).enumerate() {
            let slope = if target == Target::Ignored { 0.0 } else { scale * (log.exp() - share(p, target, k)) };
            write.put(dx, slope);
        }
    }
}

/// `q[k]`
fn share(p: &CrossEntropyParams, target: Target, k: usize) -> f64 {
    let is_class = match target {
        Target::Class(class) => f64::from(u8::from(class == k)),
        Target::Ignored | Target::Wrong => f64::NAN,
    };
    (1.0 - p.label_smoothing) * is_class + p.label_smoothing / p.classes as f64
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - largest).exp()).sum();
    x.iter().map(|x| (x - largest) - sum.ln()).collect()
}
