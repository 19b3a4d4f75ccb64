//! The equations of the [module documentation](super).

use crate::Write;

/// `y = a + weight b`
pub fn add(weight: f64, a: &[f64], b: &[f64], y: &mut [f64]) {
    for (i, y) in y.iter_mut().enumerate() {
        *y = a[i] + weight * b[i];
    }
}

/// `y (+)= weight x`
pub fn scale(weight: f64, x: &[f64], y: &mut [f64], write: Write) {
    for (y, x) in y.iter_mut().zip(x) {
        write.put(y, weight * x);
    }
}
