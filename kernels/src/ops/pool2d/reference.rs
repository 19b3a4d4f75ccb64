//! The equations of the [module documentation](super).

use super::params::{PoolParams, Pooling};
use crate::pass::Write;

/// The pooled image.
pub(super) fn forward(p: &PoolParams, x: &[f64], y: &mut [f64]) {
    for_each_window(p, |out, pixels| {
        y[out] = match p.pooling {
            Pooling::Max => x[largest(x, pixels)],
            Pooling::Average | Pooling::AverageInside => {
                pixels.iter().map(|&i| x[i]).sum::<f64>() / p.divisor(pixels.len()) as f64
            }
        };
    });
}

/// Its gradient.
pub(super) fn backward(p: &PoolParams, [x, dy]: [&[f64]; 2], dx: &mut [f64], write: Write) {
    if write == Write::Set {
        dx.fill(0.0);
    }
    for_each_window(p, |out, pixels| match p.pooling {
        Pooling::Max => dx[largest(x, pixels)] += dy[out],
        Pooling::Average | Pooling::AverageInside => {
            pixels.iter().for_each(|&i| dx[i] += dy[out] / p.divisor(pixels.len()) as f64);
        }
    });
}

/// Calls `f` with the index of every element of the output, and those of its window in the input.
fn for_each_window(p: &PoolParams, mut f: impl FnMut(usize, &[usize])) {
    let ([height, width], [rows, columns]) = (p.input, p.output);
    for n in 0..p.n {
        for row in 0..rows {
            for column in 0..columns {
                for c in 0..p.c {
                    let in_row = |h: usize| p.window(1, column).map(move |w| ((n * height + h) * width + w) * p.c + c);
                    let pixels: Vec<usize> = p.window(0, row).flat_map(in_row).collect();
                    f(((n * rows + row) * columns + column) * p.c + c, &pixels);
                }
            }
        }
    }
}

/// The pixel of the first largest value, or of the last NaN.
fn largest(x: &[f64], pixels: &[usize]) -> usize {
    let larger = |best: usize, i: usize| if x[i] > x[best] || x[i].is_nan() { i } else { best };
    pixels[1..].iter().fold(pixels[0], |best, &i| larger(best, i))
}
