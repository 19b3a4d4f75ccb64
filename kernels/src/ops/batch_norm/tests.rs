//! Every path against the reference.

use super::{Apply, Backward, BatchNormParams, BatchStats, Fold, Forward, Gradients, Inference};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, normal, paths};
use crate::{Call, Span, Write};
use proptest::prelude::*;

/// Operands: gamma, beta, running_mean, running_var, mean, rstd, x and, unless it is in place, y.
fn forward(params: BatchNormParams, inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| {
        let [gamma, beta, running_mean, running_var, mean, rstd, x] = [0, 1, 2, 3, 4, 5, 6].map(|i| o[i]);
        let y = o[if inplace { 6 } else { 7 }];
        Forward { params, x, gamma, beta, running_mean, running_var, mean, rstd, y }
    }
}

/// A pass with given statistics. Operands: gamma, beta, mean, rstd or running variance, x and, unless it is in place,
/// y.
fn given(params: BatchNormParams, inference: bool, inplace: bool) -> impl Fn(&[Span]) -> Call {
    move |o| {
        let [gamma, beta, mean, spread, x] = [0, 1, 2, 3, 4].map(|i| o[i]);
        let y = o[if inplace { 4 } else { 5 }];
        if inference {
            Inference { params, x, gamma, beta, running_mean: mean, running_var: spread, y }.into()
        } else {
            Apply { params, x, gamma, beta, mean, rstd: spread, y }.into()
        }
    }
}

/// Operands: x, gamma, mean, rstd, dgamma, dbeta, dy and, unless it is in place, dx. Outputs may be empty.
fn backward(params: BatchNormParams, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Backward {
    move |o| {
        let [x, gamma, mean, rstd, dgamma, dbeta, dy] = [0, 1, 2, 3, 4, 5, 6].map(|i| o[i]);
        let dx = o[if inplace { 6 } else { 7 }];
        let [dgamma_write, dbeta_write, dx_write] = [write; 3];
        Backward { params, x, gamma, mean, rstd, dy, dgamma, dgamma_write, dbeta, dbeta_write, dx, dx_write }
    }
}

/// Operands: x, mean, var.
fn batch_stats(params: BatchNormParams) -> impl Fn(&[Span]) -> BatchStats {
    move |o| BatchStats { params, x: o[0], mean: o[1], var: o[2] }
}

/// Operands: gamma, beta, mean, var, running_mean, running_var, rstd, scale, shift. `rstd` and the running ones may be
/// empty.
fn fold(params: BatchNormParams) -> impl Fn(&[Span]) -> Fold {
    move |o| {
        let [gamma, beta, mean, var, running_mean, running_var, rstd, scale, shift] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|i| o[i]);
        Fold { params, gamma, beta, mean, var, running_mean, running_var, rstd, scale, shift }
    }
}

/// Operands: x, gamma, mean, rstd, dy, dgamma, dbeta, coefficients. Outputs may be empty.
fn gradients(params: BatchNormParams, write: Write) -> impl Fn(&[Span]) -> Gradients {
    move |o| {
        let [x, gamma, mean, rstd, dy, dgamma, dbeta, coefficients] = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| o[i]);
        let [dgamma_write, dbeta_write] = [write; 2];
        Gradients { params, x, gamma, mean, rstd, dy, dgamma, dgamma_write, dbeta, dbeta_write, coefficients }
    }
}

/// One case: operands, with the exact statistics of `x`.
struct Case {
    p: BatchNormParams,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    x: Vec<f32>,
    dy: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

fn read(values: &[f32]) -> Operand {
    Operand::In(values.to_vec())
}

fn update(values: &[f32]) -> Operand {
    Operand::InOut(values.to_vec())
}

impl Case {
    /// Random rows whose channels have means around `center` and deviations around 1.
    fn new(p: BatchNormParams, center: f32) -> Case {
        let BatchNormParams { rows, channels, .. } = p;
        let offsets: Vec<f32> = normal(1, channels).iter().map(|x| center * (1.0 + x / 8.0) + x).collect();
        let x = normal(2, rows * channels).into_iter().enumerate().map(|(i, x)| x + offsets[i % channels]);
        let x: Vec<f32> = x.collect();
        let column = |c: usize| x.iter().skip(c).step_by(channels).map(|&x| f64::from(x));
        let mean = |c: usize| column(c).sum::<f64>() / rows as f64;
        let var = |c: usize| column(c).map(|x| (x - mean(c)).powi(2)).sum::<f64>() / rows as f64;
        Case {
            gamma: normal(3, channels),
            beta: normal(4, channels),
            dy: normal(5, rows * channels),
            mean: (0..channels).map(|c| mean(c) as f32).collect(),
            rstd: (0..channels).map(|c| (1.0 / (var(c) + p.eps).sqrt()) as f32).collect(),
            x,
            p,
        }
    }

    /// `f(i, c)` for every element `i` of a tensor and its channel `c`.
    fn each(&self, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..self.x.len()).map(|i| f(i, i % self.p.channels)).collect()
    }

    /// `x - mean`
    fn deviation(&self, i: usize) -> f64 {
        f64::from(self.x[i]) - f64::from(self.mean[i % self.p.channels])
    }

    /// The sums of `|f(i)|` over the elements of each channel.
    fn absolute_sums(&self, f: impl Fn(usize) -> f64) -> Vec<f64> {
        let channels = self.p.channels;
        (0..channels).map(|c| (c..self.x.len()).step_by(channels).map(|i| f(i).abs()).sum()).collect()
    }

    fn check_forward(&self) {
        let Case { p, gamma, beta, x, mean, rstd, .. } = self;
        let outputs = [Operand::Out(p.channels), Operand::Out(p.channels), read(x), Operand::Out(x.len())];
        let operands =
            [&[read(gamma), read(beta), update(&normal(6, p.channels)), update(&vec![1.5; p.channels])], &outputs[..]]
                .concat();
        // A mean is rounded once, and sums of 256 deviations or squares some 16 times. All of y moves with its mean.
        let means: Vec<f64> = mean.iter().map(|x| f64::from(x.abs()) + 1.0).collect();
        let size = |i: usize, c: usize| {
            f64::from(gamma[c].abs() * rstd[c]) * (means[c] + 8.0 * self.deviation(i).abs()) + f64::from(beta[c].abs())
        };
        let var = Bound::relative(16.0);
        let bounds = [
            Bound::each(2.0, means.clone()),
            var.clone(),
            Bound::each(2.0, means.clone()),
            var,
            Bound::each(4.0, self.each(size)),
        ];
        let results = check(&forward(*p, false), &operands, &bounds);
        for (path, want) in paths().zip(&results) {
            let got = path.run(&forward(*p, true), &[&operands[..6], &[update(x)]].concat());
            assert_bits("batch norm forward in place", &got[..6], &want[..6]);
            assert_bits("batch norm forward in place", &got[6..], &want[7..]);
        }
    }

    /// The passes with given statistics: of the batch, or running ones.
    fn check_given(&self, inference: bool) {
        let Case { p, gamma, beta, x, mean, rstd, .. } = self;
        let spread = if inference { &vec![1.5; p.channels] } else { rstd };
        let scale = |c: usize| if inference { 1.0 / (1.5 + p.eps).sqrt() } else { f64::from(rstd[c]) };
        let size = |i: usize, c: usize| {
            f64::from(gamma[c].abs()) * scale(c) * self.deviation(i).abs() + f64::from(beta[c].abs())
        };
        let channels = [read(gamma), read(beta), read(mean), read(spread)];
        let pass = |inplace| given(*p, inference, inplace);
        let operands = [&channels[..], &[read(x), Operand::Out(x.len())]].concat();
        let results = check(&pass(false), &operands, &[Bound::each(4.0, self.each(size))]);
        for (path, want) in paths().zip(&results) {
            let got = path.run(&pass(true), &[&channels[..], &[update(x)]].concat());
            assert_bits("batch norm in place", &got[4..], &want[5..]);
        }
    }

    /// What fused layers do: batch statistics, the affine map, and the gradients' coefficients.
    fn check_fused(&self) {
        let Case { p, gamma, beta, x, dy, mean, rstd } = self;
        let channels = p.channels;
        let means: Vec<f64> = mean.iter().map(|x| f64::from(x.abs()) + 1.0).collect();
        let outputs = [Operand::Out(channels), Operand::Out(channels)];
        // A variance has twice the relative error of its root
        let bounds = [Bound::each(2.0, means.clone()), Bound::relative(32.0)];
        check(&batch_stats(*p), &[&[read(x)], &outputs[..]].concat(), &bounds);

        let var: Vec<f32> = rstd.iter().map(|rstd| rstd.powi(-2)).collect();
        let shifts = (0..channels).map(|c| f64::from((gamma[c] * rstd[c] * mean[c]).abs() + beta[c].abs()));
        let bounds = [Bound::relative(4.0), Bound::relative(4.0), Bound::each(4.0, shifts.collect())];
        let map = [read(gamma), read(beta), read(mean), read(&var)];
        let none = [Operand::In(Vec::new()), Operand::In(Vec::new())];
        let outputs = [&outputs[..], &[Operand::Out(channels)]].concat();
        let want = check(&fold(*p), &[&map[..], &none, &outputs].concat(), &bounds);
        // Now with the running statistics, and without rstd. The map stays the same bits.
        let running = [update(&normal(6, channels)), update(&vec![1.5; channels])];
        let outputs = [Operand::Out(0), Operand::Out(channels), Operand::Out(channels)];
        let running_bounds = [Bound::each(2.0, means), Bound::absolute(4.0, 1.5), Bound::relative(0.0)];
        let results =
            check(&fold(*p), &[&map[..], &running, &outputs].concat(), &[&running_bounds[..], &bounds[1..]].concat());
        for (got, want) in results.iter().zip(&want) {
            assert_bits("fold with running statistics", &got[7..], &want[7..]);
        }

        let m = p.rows as f64;
        let xhat = |i: usize| self.deviation(i) * f64::from(rstd[i % channels]);
        let dgamma = self.absolute_sums(|i| xhat(i) * f64::from(dy[i]));
        let dbeta = self.absolute_sums(|i| f64::from(dy[i]));
        let a = |c: usize| f64::from((gamma[c] * rstd[c]).abs());
        let sizes = (0..channels).map(a);
        let sizes = sizes.chain((0..channels).map(|c| a(c) * f64::from(rstd[c]) * dgamma[c] / m));
        let sizes: Vec<f64> = sizes.chain((0..channels).map(|c| a(c) * dbeta[c] / m)).collect();
        let inputs = [read(x), read(gamma), read(mean), read(rstd), read(dy)];
        for write in [Write::Set, Write::Add] {
            let before = [normal(7, channels), normal(8, channels)];
            let plus = |size: &[f64], before: &[f32]| -> Vec<f64> {
                size.iter().zip(before).map(|(size, x)| size + f64::from(x.abs())).collect()
            };
            let bounds = [plus(&dgamma, &before[0]), plus(&dbeta, &before[1]), sizes.clone()];
            let [dgamma, dbeta] = before.map(|before| Operand::written(write, before));
            let outputs = [dgamma, dbeta, Operand::Out(3 * channels)];
            let bounds = bounds.map(|size| Bound::each(24.0, size));
            check(&gradients(*p, write), &[&inputs[..], &outputs].concat(), &bounds);
        }
    }

    fn check_backward(&self, write: Write) {
        let Case { p, gamma, x, dy, mean, rstd, .. } = self;
        let m = p.rows as f64;
        let xhat = |i: usize| self.deviation(i) * f64::from(rstd[i % p.channels]);
        // Sums of up to 256 terms in f32 round some 16 times what is at most the sum of absolute values.
        let dgamma = self.absolute_sums(|i| xhat(i) * f64::from(dy[i]));
        let dbeta = self.absolute_sums(|i| f64::from(dy[i]));
        let dx = self.each(|i, c| {
            let inner = f64::from(dy[i].abs()) + dbeta[c] / m + (xhat(i) * dgamma[c]).abs() / m;
            f64::from(gamma[c].abs() * rstd[c]) * inner
        });
        let before = [normal(7, p.channels), normal(8, p.channels), normal(9, x.len())];
        let plus = |size: Vec<f64>, before: &[f32]| -> Vec<f64> {
            let kept = f64::from(u8::from(write == Write::Add));
            size.into_iter().zip(before).map(|(size, x)| size + kept * f64::from(x.abs())).collect()
        };
        let bounds = [plus(dgamma, &before[0]), plus(dbeta, &before[1]), plus(dx, &before[2])];
        let [dgamma, dbeta, dx] = before.map(|before| Operand::written(write, before));
        let pass = |inplace| backward(*p, write, inplace);
        let inputs = [read(x), read(gamma), read(mean), read(rstd), dgamma, dbeta];
        let operands = [&inputs[..], &[read(dy), dx]].concat();
        let results = check(&pass(false), &operands, &bounds.map(|size| Bound::each(16.0, size)));
        if write == Write::Set {
            for (path, want) in paths().zip(&results) {
                let got = path.run(&pass(true), &[&inputs[..], &[update(dy)]].concat());
                assert_bits("batch norm backward in place", &got[4..6], &want[4..6]);
                assert_bits("batch norm backward in place", &got[6..], &want[7..]);
            }
        }
    }
}

fn check_params(p: BatchNormParams, center: f32) {
    if !is_tested(p.rows * p.channels) {
        return;
    }
    let case = Case::new(p, center);
    case.check_forward();
    case.check_given(false);
    case.check_given(true);
    case.check_backward(Write::Set);
    case.check_backward(Write::Add);
    case.check_fused();
}

fn params(rows: usize, channels: usize) -> BatchNormParams {
    BatchNormParams { rows, channels, eps: 1e-5, momentum: 0.1 }
}

#[test]
fn passes_equal_the_reference() {
    for (rows, channels) in [
        (1, 1),
        (1, 5),
        (2, 1),
        (3, 7),
        (7, 3),
        (300, 1),
        (257, 2),
        (257, 17),
        (1000, 8),
        (999, 9),
        (511, 15),
        (513, 16),
        (130, 17),
        (1030, 32),
        (70, 100),
        (5, 700),
        (2, 20_000),
        (20_000, 3),
    ] {
        check_params(params(rows, channels), 0.0);
    }
}

#[test]
fn large_means_cost_no_precision() {
    for (rows, channels) in [(3000, 1), (1500, 5), (2048, 32)] {
        for mean in [1000.0, -30_000.0] {
            check_params(params(rows, channels), mean);
        }
    }
}

#[test]
fn an_outlier_first_row_costs_no_precision() {
    let p = params(600, 4);
    let mut x = normal(1, p.rows * p.channels);
    x[..4].fill(1e4);
    let channels = || vec![1.0; 4];
    let operands = [
        Operand::In(channels()),
        Operand::In(channels()),
        Operand::InOut(channels()),
        Operand::InOut(channels()),
        Operand::Out(4),
        Operand::Out(4),
        Operand::In(x),
        Operand::Out(p.rows * p.channels),
    ];
    // Deviations are rounded. Their mean absolute value is 2e4 / 600; y of the outlier is some 24.
    let (mean, var) = (Bound::absolute(4.0, 2e4 / 600.0), Bound::relative(8.0));
    let bounds = [mean.clone(), var.clone(), mean, var, Bound::absolute(8.0, 32.0)];
    check(&forward(p, false), &operands, &bounds);
}

#[test]
fn momentum_0_leaves_the_running_statistics_and_one_row_their_variance() {
    for (rows, momentum) in [(40, 0.0), (1, 0.1)] {
        let p = BatchNormParams { momentum, ..params(rows, 3) };
        let (mean, var) = (vec![-0.0, 0.1, 1e30], vec![-0.0, 0.3, 1e30]);
        let operands = [
            Operand::In(vec![1.0; 3]),
            Operand::In(vec![0.0; 3]),
            Operand::InOut(mean.clone()),
            Operand::InOut(var.clone()),
            Operand::Out(3),
            Operand::Out(3),
            Operand::In(normal(1, rows * 3)),
            Operand::Out(rows * 3),
        ];
        for path in paths() {
            let got = path.run(&forward(p, false), &operands);
            let bits = |x: &[f32]| x.iter().map(|&x| f64::from(x).to_bits()).collect::<Vec<_>>();
            let got = [2, 3].map(|i| got[i].iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            assert_eq!(got[0] == bits(&mean), momentum == 0.0);
            assert_eq!(got[1], bits(&var));
        }
    }
}

#[test]
fn gradients_that_are_not_wanted_are_not_written() {
    let p = params(50, 3);
    let full = [
        Operand::In(normal(1, 150)),
        Operand::In(normal(2, 3)),
        Operand::In(normal(3, 3)),
        Operand::In(vec![1.0; 3]),
        Operand::Out(3),
        Operand::Out(3),
        Operand::In(normal(4, 150)),
        Operand::Out(150),
    ];
    for path in paths() {
        let pass = backward(p, Write::Set, false);
        let want = path.run(&pass, &full);
        for missing in [4, 5, 7] {
            let mut operands = full.clone();
            operands[missing] = Operand::Out(0);
            let got = path.run(&pass, &operands);
            for i in [4, 5, 7].into_iter().filter(|&i| i != missing) {
                assert_bits("the other gradients", &got[i..=i], &want[i..=i]);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_shape_equals_the_reference(rows in 1usize..700, channels in 1usize..40, mean in -4.0f32..4.0) {
        check_params(params(rows, channels), mean);
    }
}
