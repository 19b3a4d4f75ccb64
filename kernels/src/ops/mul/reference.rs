//! The equation of the [module documentation](super).

use crate::Write;

/// `y (+)= a b`
pub(super) fn mul(a: &[f64], b: &[f64], y: &mut [f64], write: Write) {
    for (i, y) in y.iter_mut().enumerate() {
        write.put(y, a[i] * b[i]);
    }
}
