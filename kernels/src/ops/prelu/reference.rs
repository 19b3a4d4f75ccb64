//! The equations of the [module documentation](super).

/// `y`
pub fn value(x: f64, slope: f64) -> f64 {
    if x > 0.0 { x } else { slope * x }
}

/// `dx`
pub fn grad_input(x: f64, slope: f64, dy: f64) -> f64 {
    if x > 0.0 { dy } else { slope * dy }
}

/// `dslope`
pub fn grad_slope(x: &[f64], dy: &[f64]) -> f64 {
    x.iter().zip(dy).map(|(&x, dy)| if x > 0.0 { 0.0 } else { dy * x }).sum()
}
