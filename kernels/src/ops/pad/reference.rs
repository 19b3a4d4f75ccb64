//! The equations of the [module documentation](super).

use super::params::PadParams;
use crate::pass::Write;

/// Calls `f(x index, y index)` for every element of the unpadded image.
fn for_each_inside(p: &PadParams, mut f: impl FnMut(usize, usize)) {
    for n in 0..p.n {
        for h in 0..p.h0 {
            for i in 0..p.w0 * p.c {
                f((n * p.h0 + h) * p.w0 * p.c + i, (n * p.h1 + h) * p.w1 * p.c + i);
            }
        }
    }
}

/// `y = x` inside, 0 outside
pub(super) fn forward(p: &PadParams, x: &[f64], y: &mut [f64]) {
    y.fill(0.0);
    for_each_inside(p, |i, j| y[j] = x[i]);
}

/// `dx (+)= dy` inside
pub(super) fn backward(p: &PadParams, dy: &[f64], dx: &mut [f64], write: Write) {
    for_each_inside(p, |i, j| write.put(&mut dx[i], dy[j]));
}
