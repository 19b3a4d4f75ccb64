//! The equations of the [module documentation](super).

/// The norm. The squares are those of shares of the largest value, so that none overflows.
pub(super) fn norm(x: &[f64]) -> f64 {
    // `max` would ignore NaN.
    let largest = x.iter().fold(0.0, |largest: f64, x| if x.abs() <= largest { largest } else { x.abs() });
    if largest == 0.0 || !largest.is_finite() {
        return x.iter().map(|x| x.abs()).sum();
    }
    largest * x.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
}

/// What the values are multiplied by; 1 if the norm is NaN.
pub(super) fn factor(max_norm: f64, norm: f64) -> f64 {
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 { factor } else { 1.0 }
}
