//! Both passes against the reference, and against the passes that they are made of.

use super::{Backward, Forward, Norm};
use crate::activation::{self, Activation};
use crate::add::Add;
use crate::batch_norm::{self, BatchNormParams};
use crate::testing::{Bound, Operand, Path, assert_bits, cases, check, is_tested, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

/// Which statistics the normalization has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistics {
    Batch,
    Given,
    Running,
}

const STATISTICS: [Statistics; 3] = [Statistics::Batch, Statistics::Given, Statistics::Running];
const WEIGHT: f64 = -0.7;

fn params(rows: usize, channels: usize) -> BatchNormParams {
    BatchNormParams { rows, channels, eps: 1e-5, momentum: 0.1 }
}

fn read(values: &[f32]) -> Operand {
    Operand::In(values.to_vec())
}

/// Operands: gamma, beta; running mean and variance, mean and rstd; x, and y. Those that the statistics do not need are
/// empty.
fn norm(p: BatchNormParams, statistics: Statistics, [gamma, beta, m, v, mean, rstd, x, y]: [Span; 8]) -> Norm {
    let (running_mean, running_var) = (m, v);
    match statistics {
        Statistics::Batch => {
            Norm::Batch(batch_norm::Forward { params: p, x, gamma, beta, running_mean, running_var, mean, rstd, y })
        }
        Statistics::Given => Norm::Given(batch_norm::Apply { params: p, x, gamma, beta, mean, rstd, y }),
        Statistics::Running => {
            Norm::Running(batch_norm::Inference { params: p, x, gamma, beta, running_mean, running_var, y })
        }
    }
}

/// The operands of [`norm`] but `x` and `y`.
fn norm_operands(p: BatchNormParams, statistics: Statistics) -> Vec<Operand> {
    let (c, none) = (p.channels, Operand::In(Vec::new()));
    let positive = |seed| normal(seed, c).into_iter().map(|x| x.abs() + 0.5).collect::<Vec<f32>>();
    let [gamma, beta] = [Operand::In(normal(1, c)), Operand::In(normal(2, c))];
    let others = match statistics {
        Statistics::Batch => {
            [Operand::InOut(normal(3, c)), Operand::InOut(positive(4)), Operand::Out(c), Operand::Out(c)]
        }
        Statistics::Given => [none.clone(), none, Operand::In(normal(3, c)), Operand::In(positive(4))],
        Statistics::Running => [Operand::In(normal(3, c)), Operand::In(positive(4)), none.clone(), none],
    };
    [&[gamma, beta], &others[..]].concat()
}

fn as_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|x| *x as f32).collect()
}

/// The operands of the pass, and the pass. `y` is `x` if it is in place; `skip` may be empty.
fn forward(
    p: BatchNormParams,
    statistics: Statistics,
    activation: Activation,
    [has_skip, in_place]: [bool; 2],
) -> (Vec<Operand>, impl Fn(&[Span]) -> Forward) {
    let x = normal(5, p.rows * p.channels);
    let skip = if has_skip { normal(6, x.len()) } else { Vec::new() };
    let y = Operand::Out(if in_place { 0 } else { x.len() });
    let x = if in_place { Operand::InOut(x) } else { Operand::In(x) };
    let operands = [norm_operands(p, statistics), vec![x, y, Operand::In(skip)]].concat();
    let pass = move |o: &[Span]| {
        let y = if in_place { o[6] } else { o[7] };
        let norm = norm(p, statistics, [o[0], o[1], o[2], o[3], o[4], o[5], o[6], y]);
        Forward { norm, skip: o[8], weight: WEIGHT, activation }
    };
    (operands, pass)
}

/// The pass has the bits of the passes one after another.
fn check_forward_bits(path: &Path, p: BatchNormParams, statistics: Statistics, activation: Activation, has_skip: bool) {
    let (operands, pass) = forward(p, statistics, activation, [has_skip, false]);
    let z = path.run(&|o: &[Span]| norm(p, statistics, [0, 1, 2, 3, 4, 5, 6, 7].map(|i| o[i])), &operands[..8]);
    let mut y = z[7].clone();
    if has_skip {
        let add = |o: &[Span]| Add { weight: WEIGHT, a: o[0], b: o[1], y: o[2] };
        y = path.run(&add, &[read(&as_f32(&y)), operands[8].clone(), Operand::Out(y.len())]).remove(2);
    }
    let function = |o: &[Span]| activation::Forward { activation, x: o[0], y: o[1] };
    y = path.run(&function, &[read(&as_f32(&y)), Operand::Out(y.len())]).remove(1);
    let want = [&z[..7], &[y]].concat();
    let name = format!("{p:?} {statistics:?} {activation:?} skip {has_skip}");
    assert_bits(&name, &path.run(&pass, &operands)[..8], &want);
    let (operands, pass) = forward(p, statistics, activation, [has_skip, true]);
    let got = path.run(&pass, &operands);
    assert_bits(&format!("{name} in place"), &[&got[..6], &got[6..7]].concat(), &[&want[..6], &want[7..]].concat());
}

/// Operands: saved, dy, x, gamma, mean, rstd, dgamma, dbeta, dz, dx. Without `dz`, `dx` is both.
fn backward(
    params: BatchNormParams,
    activation: Activation,
    write: Write,
    [dy, dz]: [usize; 2],
) -> impl Fn(&[Span]) -> Backward {
    move |o| {
        let [saved, x, gamma, mean, rstd, dgamma, dbeta, dx] = [0, 2, 3, 4, 5, 6, 7, 9].map(|i| o[i]);
        let [dgamma_write, dbeta_write, dx_write] = [write; 3];
        let norm = batch_norm::Backward {
            params,
            x,
            gamma,
            mean,
            rstd,
            dy: o[dz],
            dgamma,
            dgamma_write,
            dbeta,
            dbeta_write,
            dx,
            dx_write,
        };
        Backward { activation, saved, dy: o[dy], norm }
    }
}

fn check_backward(p: BatchNormParams, activation: Activation, write: Write) {
    let (len, channels, m) = (p.rows * p.channels, p.channels, p.rows as f64);
    let (saved, dy, x) = (normal(1, len), normal(2, len), normal(3, len));
    let [gamma, mean] = [4, 5].map(|seed| normal(seed, channels));
    let rstd: Vec<f32> = normal(6, channels).iter().map(|x| x.abs() + 0.5).collect();
    // The sizes of what is added up. `dz` is rounded some times; sums of 64 terms in f32 some 16 times.
    let slope = 1.2;
    let xhat = |i: usize| f64::from((x[i] - mean[i % channels]).abs() * rstd[i % channels]);
    let mut sums = [vec![1.0; channels], vec![1.0; channels]];
    for i in 0..len {
        sums[0][i % channels] += slope * xhat(i) * f64::from(dy[i].abs()) + 1.0;
        sums[1][i % channels] += slope * f64::from(dy[i].abs()) + 1.0;
    }
    let [dgamma, dbeta] = &sums;
    let size = |i: usize| {
        let c = i % channels;
        let inner = slope * f64::from(dy[i].abs()) + dbeta[c] / m + xhat(i) * dgamma[c] / m;
        f64::from(gamma[c].abs() * rstd[c]) * inner + 4.0
    };
    let dx: Vec<f64> = (0..len).map(size).collect();
    let dz: Vec<f64> = dy.iter().map(|dy| slope * f64::from(dy.abs())).collect();
    let bounds = [&sums[0], &sums[1], &dz, &dx].map(|size| Bound::each(24.0, size.clone()));
    let before = [normal(7, channels), normal(8, channels), normal(9, len)];
    let [dgamma, dbeta, dx] = before.map(|before| Operand::written(write, before));
    let inputs = [read(&saved), read(&dy), read(&x), read(&gamma), read(&mean), read(&rstd), dgamma, dbeta];
    let operands = [&inputs[..], &[Operand::Out(len), dx]].concat();
    let results = check(&backward(p, activation, write, [1, 8]), &operands, &bounds);
    for (path, want) in paths().zip(&results) {
        let name = format!("{p:?} {activation:?} {write:?}");
        let function =
            |o: &[Span]| activation::Backward { activation, saved: o[0], dy: o[1], dx: o[2], write: Write::Set };
        let dz = path.run(&function, &[read(&saved), read(&dy), Operand::Out(len)]);
        assert_bits(&format!("{name}: dz"), &want[8..9], &dz[2..]);
        // In the place of `dy`, of which nothing else is left.
        let mut others = operands.clone();
        others[1] = Operand::InOut(dy.clone());
        others[8] = Operand::Out(0);
        let got = path.run(&backward(p, activation, write, [1, 1]), &others);
        assert_bits(
            &format!("{name}: in place"),
            &[&got[1..2], &got[6..8], &got[9..]].concat(),
            &[want[8].clone(), want[6].clone(), want[7].clone(), want[9].clone()],
        );
        if write == Write::Set {
            others[1] = read(&dy);
            let got = path.run(&backward(p, activation, write, [1, 9]), &others);
            assert_bits(
                &format!("{name}: without dz"),
                &[&got[6..8], &got[9..]].concat(),
                &[want[6].clone(), want[7].clone(), want[9].clone()],
            );
            others[1] = Operand::Out(0);
            others[9] = Operand::InOut(dy.clone());
            let got = path.run(&backward(p, activation, write, [9, 9]), &others);
            assert_bits(
                &format!("{name}: all in one place"),
                &[&got[6..8], &got[9..]].concat(),
                &[want[6].clone(), want[7].clone(), want[9].clone()],
            );
        }
    }
}

const SHAPES: [(usize, usize); 8] = [(1, 1), (3, 7), (300, 1), (257, 17), (1000, 8), (70, 100), (5, 700), (20_000, 3)];

#[test]
fn forward_passes_have_the_bits_of_their_parts() {
    for (rows, channels) in SHAPES.into_iter().filter(|(rows, channels)| is_tested(rows * channels)) {
        for (i, activation) in Activation::ALL.into_iter().enumerate() {
            // All functions, each with some of the cases.
            let statistics = STATISTICS[(i + rows) % 3];
            for path in paths() {
                check_forward_bits(path, params(rows, channels), statistics, activation, (i + channels) % 2 == 0);
            }
        }
        for (statistics, has_skip) in STATISTICS.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            for path in paths() {
                check_forward_bits(path, params(rows, channels), statistics, Activation::Relu, has_skip);
            }
        }
    }
}

#[test]
fn forward_passes_equal_the_reference() {
    for (rows, channels) in [(257, 17), (1000, 8), (20_000, 3)] {
        if !is_tested(rows * channels) {
            continue;
        }
        for (statistics, activation) in
            STATISTICS.into_iter().flat_map(|s| [(s, Activation::Tanh), (s, Activation::Relu)])
        {
            let (operands, pass) = forward(params(rows, channels), statistics, activation, [true, false]);
            // Slopes are at most 1. A mean is rounded once, and sums of 256 deviations or squares some 16 times.
            let stats = [Bound::absolute(4.0, 4.0), Bound::absolute(16.0, 4.0), Bound::absolute(4.0, 4.0)];
            let y = Bound::absolute(16.0, 24.0);
            let bounds = match statistics {
                Statistics::Batch => [&stats[..], &[Bound::relative(16.0), y]].concat(),
                Statistics::Given | Statistics::Running => vec![y],
            };
            check(&pass, &operands, &bounds);
        }
    }
}

#[test]
fn backward_passes_equal_the_reference_and_dz_has_its_bits() {
    for (rows, channels) in SHAPES.into_iter().filter(|(rows, channels)| is_tested(rows * channels)) {
        for activation in Activation::ALL {
            check_backward(params(rows, channels), activation, Write::Set);
        }
        check_backward(params(rows, channels), Activation::Relu, Write::Add);
    }
}

#[test]
fn gradients_that_are_not_wanted_are_not_written() {
    let (p, len) = (params(50, 3), 150);
    let inputs = [normal(1, len), normal(2, len), normal(3, len), normal(4, 3), normal(5, 3), vec![1.0; 3]];
    let outputs = [Operand::Out(3), Operand::Out(3), Operand::Out(len), Operand::Out(len)];
    let full = [&inputs.map(Operand::In)[..], &outputs].concat();
    for path in paths() {
        let pass = backward(p, Activation::Relu, Write::Set, [1, 8]);
        let want = path.run(&pass, &full);
        for missing in [6, 7, 9] {
            let mut operands = full.clone();
            operands[missing] = Operand::Out(0);
            let got = path.run(&pass, &operands);
            for i in [6, 7, 8, 9].into_iter().filter(|&i| i != missing) {
                assert_bits("the other gradients", &got[i..=i], &want[i..=i]);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_shape_equals_the_reference(rows in 1usize..700, channels in 1usize..40, kind in 0usize..3, skip: bool) {
        if is_tested(rows * channels) {
            for path in paths() {
                check_forward_bits(path, params(rows, channels), STATISTICS[kind], Activation::Relu6, skip);
            }
            check_backward(params(rows, channels), Activation::Silu, Write::Add);
        }
    }
}
