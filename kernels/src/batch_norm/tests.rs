//! Every CPU path against the reference.

use super::{Apply, Backward, BatchNormParams, Forward, Inference};
use crate::testing::{Bound, Operand, Pass, assert_bits, cases, check, cpus, normal, run};
use crate::{Backend, Span, Write};
use proptest::prelude::*;

/// `[gamma, beta, running_mean, running_var, mean, rstd, x, y]`; `y` is `x` in place.
struct ForwardPass {
    p: BatchNormParams,
    inplace: bool,
}

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("batch norm forward {:?}", self.p)
    }

    fn workspace_bytes<B: Backend>(&self, backend: &B) -> usize {
        backend.batch_norm_forward_workspace_bytes(&self.p)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span) {
        let [gamma, beta, running_mean, running_var, mean, rstd, x] = [0, 1, 2, 3, 4, 5, 6].map(|i| operands[i]);
        let y = operands[if self.inplace { 6 } else { 7 }];
        let operands = Forward { x, gamma, beta, running_mean, running_var, mean, rstd, y, workspace };
        backend.batch_norm_forward(memory, &self.p, operands);
    }
}

/// `[gamma, beta, mean, rstd or running variance, x, y]`; `y` is `x` in place.
struct GivenPass {
    p: BatchNormParams,
    inference: bool,
    inplace: bool,
}

impl Pass for GivenPass {
    fn name(&self) -> String {
        format!("batch norm {} {:?}", if self.inference { "inference" } else { "apply" }, self.p)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let [gamma, beta, mean, spread, x] = [0, 1, 2, 3, 4].map(|i| operands[i]);
        let y = operands[if self.inplace { 4 } else { 5 }];
        if self.inference {
            let operands = Inference { x, gamma, beta, running_mean: mean, running_var: spread, y };
            backend.batch_norm_inference(memory, &self.p, operands);
        } else {
            backend.batch_norm_apply(memory, &self.p, Apply { x, gamma, beta, mean, rstd: spread, y });
        }
    }
}

/// `[x, gamma, mean, rstd, dgamma, dbeta, dy, dx]`; `dx` is `dy` in place; outputs may be empty.
struct BackwardPass {
    p: BatchNormParams,
    writes: [Write; 3],
    inplace: bool,
}

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("batch norm backward {:?} {:?}", self.p, self.writes)
    }

    fn workspace_bytes<B: Backend>(&self, backend: &B) -> usize {
        backend.batch_norm_backward_workspace_bytes(&self.p)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span) {
        let [x, gamma, mean, rstd, dgamma, dbeta, dy] = [0, 1, 2, 3, 4, 5, 6].map(|i| operands[i]);
        let dx = operands[if self.inplace { 6 } else { 7 }];
        let [dgamma_write, dbeta_write, dx_write] = self.writes;
        let operands =
            Backward { x, gamma, mean, rstd, dy, dgamma, dgamma_write, dbeta, dbeta_write, dx, dx_write, workspace };
        backend.batch_norm_backward(memory, &self.p, operands);
    }
}

/// Rows whose channels have means around `mean` and deviations around 1.
fn rows(seed: u64, p: &BatchNormParams, mean: f32) -> Vec<f32> {
    let offsets = normal(seed + 1, p.channels);
    let offset = |c: usize| mean * (1.0 + offsets[c] / 8.0) + offsets[c];
    normal(seed, p.rows * p.channels).into_iter().enumerate().map(|(i, x)| x + offset(i % p.channels)).collect()
}

fn check_params(p: BatchNormParams, mean: f32) {
    let (channels, len) = (p.channels, p.rows * p.channels);
    let (gamma, beta, x, dy) = (normal(1, channels), normal(2, channels), rows(3, &p, mean), normal(5, len));
    let (running_mean, running_var) = (normal(6, channels), vec![1.5; channels]);
    let read = |x: &Vec<f32>| Operand::In(x.clone());
    let update = |x: &Vec<f32>| Operand::InOut(x.clone());
    let largest = |x: &[f32]| f64::from(x.iter().fold(0.0f32, |a, x| a.max(x.abs())));

    // Statistics in f64, from the exact inputs: what the reference makes of them is f64 too.
    let column = |c: usize| x.iter().skip(c).step_by(channels).map(|&x| f64::from(x));
    let means: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / p.rows as f64).collect();
    let var = |c: usize| column(c).map(|x| (x - means[c]).powi(2)).sum::<f64>() / p.rows as f64;
    let rstds: Vec<f64> = (0..channels).map(|c| 1.0 / (var(c) + p.eps).sqrt()).collect();
    let rstd_max = rstds.iter().fold(0.0f64, |a, &r| a.max(r));

    // Block sums of 256 squares in f32 are off by a few roundings; the mean is rounded once, and with it moves y by as
    // much as `rstd gamma` times half its last place.
    let y_size = largest(&gamma) * (rstd_max * 2.0 * largest(&x) + 8.0) + largest(&beta);
    let operands = [
        read(&gamma),
        read(&beta),
        update(&running_mean),
        update(&running_var),
        Operand::Out(channels),
        Operand::Out(channels),
        read(&x),
        Operand::Out(len),
    ];
    let bounds = [
        Bound::absolute(2.0, largest(&x)),
        Bound::relative(16.0),
        Bound::absolute(2.0, largest(&x)),
        Bound::relative(16.0),
        Bound::absolute(16.0, y_size),
    ];
    let results = check(&ForwardPass { p, inplace: false }, &operands, &bounds);
    let mut aliased = operands.clone();
    aliased[6] = update(&x);
    aliased[7] = Operand::In(vec![]);
    for ([cpu, ..], want) in cpus().zip(&results) {
        let got = run(cpu, &ForwardPass { p, inplace: true }, &aliased);
        assert_bits("batch norm forward in place", &got[..6], &want[..6]);
        assert_bits("batch norm forward in place", &got[6..7], &want[7..]);
    }

    // From here on the statistics are given, so the reference sees the same f32 values.
    let mean32: Vec<f32> = means.iter().map(|&x| x as f32).collect();
    let rstd32: Vec<f32> = rstds.iter().map(|&x| x as f32).collect();
    for inference in [false, true] {
        let spread = if inference { &running_var } else { &rstd32 };
        let center = if inference { &running_mean } else { &mean32 };
        let pass = |inplace| GivenPass { p, inference, inplace };
        let operands = [read(&gamma), read(&beta), read(center), read(spread), read(&x), Operand::Out(len)];
        let scale = |c: usize| {
            let spread = f64::from(spread[c]);
            f64::from(gamma[c].abs()) * if inference { 1.0 / (spread + p.eps).sqrt() } else { spread }
        };
        let size = |i: usize| {
            let c = i % channels;
            (f64::from(x[i]) - f64::from(center[c])).abs() * scale(c) + f64::from(beta[c].abs())
        };
        let results = check(&pass(false), &operands, &[Bound::each(4.0, (0..len).map(size).collect())]);
        let mut aliased = operands.clone();
        aliased[4] = update(&x);
        aliased[5] = Operand::In(vec![]);
        for ([cpu, ..], want) in cpus().zip(&results) {
            assert_bits("batch norm in place", &run(cpu, &pass(true), &aliased)[4..5], &want[5..]);
        }
    }

    // Sums of n terms in blocks of 256: a few roundings more than a term's, of the sum of absolute values.
    let xhat = |i: usize| (f64::from(x[i]) - f64::from(mean32[i % channels])) * f64::from(rstd32[i % channels]);
    let sum = |f: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..channels).map(|c| (c..len).step_by(channels).map(f).map(f64::abs).sum()).collect()
    };
    let dgamma_size = sum(&|i| xhat(i) * f64::from(dy[i]));
    let dbeta_size = sum(&|i| f64::from(dy[i]));
    let m = p.rows as f64;
    let dx_size = |i: usize| {
        let c = i % channels;
        let inner = f64::from(dy[i].abs()) + dbeta_size[c] / m + (xhat(i) * dgamma_size[c]).abs() / m;
        f64::from(gamma[c].abs() * rstd32[c]) * inner
    };
    for writes in [[Write::Set; 3], [Write::Add; 3]] {
        let before = [normal(7, channels), normal(8, channels), normal(9, len)];
        let add = |size: Vec<f64>, before: &[f32]| -> Vec<f64> {
            let kept = if writes[0] == Write::Add { 1.0 } else { 0.0 };
            size.into_iter().zip(before).map(|(size, x)| size + kept * f64::from(x.abs())).collect()
        };
        let bounds = [
            Bound::each(20.0, add(dgamma_size.clone(), &before[0])),
            Bound::each(20.0, add(dbeta_size.clone(), &before[1])),
            Bound::each(20.0, add((0..len).map(dx_size).collect(), &before[2])),
        ];
        let [dgamma, dbeta, dx] = before.map(|before| Operand::written(writes[0], before));
        let operands = [read(&x), read(&gamma), read(&mean32), read(&rstd32), dgamma, dbeta, read(&dy), dx];
        let pass = |inplace| BackwardPass { p, writes, inplace };
        let results = check(&pass(false), &operands, &bounds);
        if writes[2] == Write::Set {
            let mut aliased = operands.clone();
            aliased[6] = update(&dy);
            aliased[7] = Operand::In(vec![]);
            for ([cpu, ..], want) in cpus().zip(&results) {
                let got = run(cpu, &pass(true), &aliased);
                assert_bits("batch norm backward in place", &got[4..6], &want[4..6]);
                assert_bits("batch norm backward in place", &got[6..7], &want[7..]);
            }
        }
    }
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
    // what is rounded are deviations, whose mean absolute value is 2e4 / 600; y of the outlier is some 24
    let (mean, var) = (Bound::absolute(4.0, 2e4 / 600.0), Bound::relative(8.0));
    let bounds = [mean.clone(), var.clone(), mean, var, Bound::absolute(8.0, 32.0)];
    check(&ForwardPass { p, inplace: false }, &operands, &bounds);
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
        for cpu in cpus().flatten() {
            let got = run(cpu, &ForwardPass { p, inplace: false }, &operands);
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
    let writes = [Write::Set; 3];
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
    for cpu in cpus().flatten() {
        let pass = BackwardPass { p, writes, inplace: false };
        let want = run(cpu, &pass, &full);
        for missing in [4, 5, 7] {
            let mut operands = full.clone();
            operands[missing] = Operand::Out(0);
            let got = run(cpu, &pass, &operands);
            for i in [4, 5, 7].into_iter().filter(|&i| i != missing) {
                assert_bits(&pass.name(), &got[i..=i], &want[i..=i]);
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
