//! The equations of the [module documentation](super).

use super::params::{C1, C2, SsimParams, WINDOW, WINDOW_LEN};
use crate::pass::Write;

/// What the equations name of a window.
struct Window {
    mx: f64,
    my: f64,
    a1: f64,
    a2: f64,
    b1: f64,
    b2: f64,
}

impl Window {
    fn new(elements: &[usize], x: &[f64], y: &[f64]) -> Window {
        let mean = |f: &dyn Fn(usize) -> f64| elements.iter().map(|&i| f(i)).sum::<f64>() / WINDOW_LEN as f64;
        let (mx, my) = (mean(&|i| x[i]), mean(&|i| y[i]));
        let sample = WINDOW_LEN as f64 / (WINDOW_LEN as f64 - 1.0);
        let vx = sample * mean(&|i| (x[i] - mx).powi(2));
        let vy = sample * mean(&|i| (y[i] - my).powi(2));
        let vxy = sample * mean(&|i| (x[i] - mx) * (y[i] - my));
        let (a1, a2) = (2.0 * mx * my + C1, 2.0 * vxy + C2);
        Window { mx, my, a1, a2, b1: mx * mx + my * my + C1, b2: vx + vy + C2 }
    }

    fn similarity(&self) -> f64 {
        self.a1 * self.a2 / (self.b1 * self.b2)
    }
}

/// The mean similarity.
pub(super) fn forward(p: &SsimParams, x: &[f64], y: &[f64]) -> f64 {
    let mut sum = 0.0;
    for_each_window(p, |elements| sum += Window::new(elements, x, y).similarity());
    sum / p.windows() as f64
}

/// `dx (+)= dout` times the gradient of the mean similarity
pub(super) fn backward(p: &SsimParams, [x, y]: [&[f64]; 2], dout: f64, dx: &mut [f64], write: Write) {
    if write == Write::Set {
        dx.fill(0.0);
    }
    let (m, scale) = (WINDOW_LEN as f64, dout / p.windows() as f64);
    for_each_window(p, |elements| {
        let window = Window::new(elements, x, y);
        let Window { mx, my, a1, a2, b1, b2 } = window;
        let of_mean = 2.0 * a2 * (my - mx * a1 / b1) / (b1 * b2);
        let (of_variance, of_covariance) = (-window.similarity() / b2, 2.0 * a1 / (b1 * b2));
        for &i in elements {
            let of_deviations = 2.0 * of_variance * (x[i] - mx) + of_covariance * (y[i] - my);
            dx[i] += scale * (of_mean / m + of_deviations / (m - 1.0));
        }
    });
}

/// Calls `f` for every window, with the indices of its elements.
pub(super) fn for_each_window(p: &SsimParams, mut f: impl FnMut(&[usize])) {
    for image in 0..p.n {
        for top in 0..=p.h - WINDOW {
            for left in 0..=p.w - WINDOW {
                for channel in 0..p.c {
                    let element = |i: usize| {
                        let (row, column) = (top + i / WINDOW, left + i % WINDOW);
                        ((image * p.h + row) * p.w + column) * p.c + channel
                    };
                    f(&std::array::from_fn::<usize, WINDOW_LEN, _>(element));
                }
            }
        }
    }
}
