//! The equations of the [module documentation](super).

use super::params::{UpsampleParams, Upsampling};
use crate::pass::Write;

/// `y`
pub(super) fn forward(p: &UpsampleParams, x: &[f64], y: &mut [f64]) {
    y.fill(0.0);
    for_each_term(p, |input, output, weight| y[output] += weight * x[input]);
}

/// `dx (+)=` what each pixel of the input is given
pub(super) fn backward(p: &UpsampleParams, dy: &[f64], dx: &mut [f64], write: Write) {
    if write == Write::Set {
        dx.fill(0.0);
    }
    for_each_term(p, |input, output, weight| dx[input] += weight * dy[output]);
}

/// Calls `f` for every term of every element of the output: with the index of an element of the input, that of the
/// output's, and the weight.
fn for_each_term(p: &UpsampleParams, mut f: impl FnMut(usize, usize, f64)) {
    let ([h, w], [rows, columns]) = (p.input, p.output);
    for n in 0..p.n {
        for row in 0..rows {
            for column in 0..columns {
                for (from_row, of_row) in terms(p.upsampling, row, h, rows) {
                    for (from_column, of_column) in terms(p.upsampling, column, w, columns) {
                        for c in 0..p.c {
                            let input = ((n * h + from_row) * w + from_column) * p.c + c;
                            f(input, ((n * rows + row) * columns + column) * p.c + c, of_row * of_column);
                        }
                    }
                }
            }
        }
    }
}

/// The pixels, and their weights, that pixel `i` of `output` comes from, in one direction.
fn terms(upsampling: Upsampling, i: usize, input: usize, output: usize) -> Vec<(usize, f64)> {
    match upsampling {
        Upsampling::Nearest => vec![(i * input / output, 1.0)],
        Upsampling::Bilinear => {
            let place = ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
            let (index, weight) = (place.floor() as usize, place.fract());
            vec![(index.min(input - 1), 1.0 - weight), ((index + 1).min(input - 1), weight)]
        }
    }
}
