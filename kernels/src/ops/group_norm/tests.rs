//! Every path against the reference.

use super::{Apply, Backward, Forward, GroupNormParams};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, normal, paths, run};
use crate::{Reference, Span, Write};
use proptest::prelude::*;

/// Operands: gamma, beta, mean, rstd, x and, unless it is in place, y.
fn forward(params: GroupNormParams, inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| {
        let [gamma, beta, mean, rstd, x] = [0, 1, 2, 3, 4].map(|i| o[i]);
        Forward { params, x, gamma, beta, mean, rstd, y: o[if inplace { 4 } else { 5 }] }
    }
}

/// As [`forward`].
fn apply(params: GroupNormParams, inplace: bool) -> impl Fn(&[Span]) -> Apply {
    move |o| {
        let Forward { params, x, gamma, beta, mean, rstd, y } = forward(params, inplace)(o);
        Apply { params, x, gamma, beta, mean, rstd, y }
    }
}

/// Operands: x, gamma, mean, rstd, dgamma, dbeta, dy and, unless it is in place, dx. Outputs may be empty.
fn backward(params: GroupNormParams, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Backward {
    move |o| {
        let [x, gamma, mean, rstd, dgamma, dbeta, dy] = [0, 1, 2, 3, 4, 5, 6].map(|i| o[i]);
        let dx = o[if inplace { 6 } else { 7 }];
        let [dgamma_write, dbeta_write, dx_write] = [write; 3];
        Backward { params, x, gamma, mean, rstd, dy, dgamma, dgamma_write, dbeta, dbeta_write, dx, dx_write }
    }
}

fn params([images, rows, channels]: [usize; 3], groups: usize) -> GroupNormParams {
    GroupNormParams { images, rows, channels, groups, eps: 1e-5 }
}

fn read(values: &[f32]) -> Operand {
    Operand::In(values.to_vec())
}

fn update(values: &[f32]) -> Operand {
    Operand::InOut(values.to_vec())
}

/// One case: operands, with the statistics of `x`.
struct Case {
    p: GroupNormParams,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    x: Vec<f32>,
    dy: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

impl Case {
    /// Random values around `center`.
    fn new(p: GroupNormParams, center: f32) -> Case {
        let len = p.images * p.image_len();
        let x: Vec<f32> = normal(2, len).into_iter().map(|x| center + x).collect();
        let (gamma, beta, of_groups) = (normal(3, p.channels), normal(4, p.channels), p.images * p.groups);
        let outputs = [Operand::Out(of_groups), Operand::Out(of_groups), read(&x), Operand::Out(len)];
        let result = run(&Reference, &forward(p, false), &[&[read(&gamma), read(&beta)], &outputs[..]].concat());
        let [mean, rstd] = [2, 3].map(|i| result[i].iter().map(|&x| x as f32).collect());
        Case { p, gamma, beta, x, dy: normal(5, len), mean, rstd }
    }

    /// Place of the statistics of element `i`.
    fn group(&self, i: usize) -> usize {
        i / self.p.image_len() * self.p.groups + i % self.p.channels / self.p.of_group()
    }

    fn xhat(&self, i: usize) -> f64 {
        let g = self.group(i);
        (f64::from(self.x[i]) - f64::from(self.mean[g])) * f64::from(self.rstd[g])
    }

    /// `f(i, c)` for every element `i` and its channel `c`.
    fn each(&self, f: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..self.x.len()).map(|i| f(i, i % self.p.channels)).collect()
    }

    fn check_forward(&self) {
        let Case { p, gamma, beta, x, mean, rstd, .. } = self;
        // A mean is rounded once, and sums of 256 deviations or squares some 16 times. All of y moves with its mean.
        let means: Vec<f64> = mean.iter().map(|x| f64::from(x.abs()) + 1.0).collect();
        let size = |i: usize, c: usize| {
            let g = self.group(i);
            f64::from(gamma[c].abs()) * (f64::from(rstd[g]) * means[g] + 8.0 * self.xhat(i).abs())
                + f64::from(beta[c].abs())
        };
        let y = Bound::each(4.0, self.each(size));
        let bounds = [Bound::each(2.0, means.clone()), Bound::relative(16.0), y];
        let channels = [read(gamma), read(beta)];
        let outputs = [Operand::Out(mean.len()), Operand::Out(mean.len())];
        let operands = [&channels[..], &outputs, &[read(x), Operand::Out(x.len())]].concat();
        let results = check(&forward(*p, false), &operands, &bounds);
        for (path, want) in paths().zip(&results) {
            let got = path.run(&forward(*p, true), &[&operands[..4], &[update(x)]].concat());
            assert_bits("group norm in place", &got[2..4], &want[2..4]);
            assert_bits("group norm in place", &got[4..], &want[5..]);
            // The same bits once more from the statistics.
            let statistics = [2, 3].map(|i| Operand::In(want[i].iter().map(|&x| x as f32).collect()));
            let operands = [&channels[..], &statistics, &operands[4..]].concat();
            let again = path.run(&apply(*p, false), &operands);
            assert_bits("group norm again", &again[5..], &want[5..]);
            let again = path.run(&apply(*p, true), &[&operands[..4], &[update(x)]].concat());
            assert_bits("group norm again in place", &again[4..], &want[5..]);
        }
        // With given statistics, which are not this path's own.
        let size = |i: usize, c: usize| f64::from(gamma[c].abs()) * self.xhat(i).abs() + f64::from(beta[c].abs());
        let operands = [&channels[..], &[read(mean), read(rstd)], &operands[4..]].concat();
        check(&apply(*p, false), &operands, &[Bound::each(4.0, self.each(size))]);
    }

    fn check_backward(&self, write: Write) {
        let Case { p, gamma, x, dy, mean, rstd, .. } = self;
        let (mut dgamma, mut dbeta) = (vec![0.0; p.channels], vec![0.0; p.channels]);
        let mut of_groups = vec![[0.0; 2]; mean.len()];
        for (i, dy) in dy.iter().enumerate() {
            let (c, dy, product) = (i % p.channels, f64::from(dy.abs()), (f64::from(*dy) * self.xhat(i)).abs());
            dgamma[c] += product;
            dbeta[c] += dy;
            let (of_group, gamma) = (&mut of_groups[self.group(i)], f64::from(gamma[c].abs()));
            of_group[0] += gamma * dy;
            of_group[1] += gamma * product;
        }
        let m = p.group_len() as f64;
        let dx = self.each(|i, c| {
            let (g, dy) = (self.group(i), f64::from(dy[i].abs()));
            let inner = f64::from(gamma[c].abs()) * dy + (of_groups[g][0] + self.xhat(i).abs() * of_groups[g][1]) / m;
            f64::from(rstd[g]) * inner
        });
        // Sums of up to 256 terms in f32 round some 16 times what is at most the sum of absolute values.
        let before = [normal(7, p.channels), normal(8, p.channels), normal(9, x.len())];
        let plus = |size: Vec<f64>, before: &[f32]| -> Vec<f64> {
            let kept = f64::from(u8::from(write == Write::Add));
            size.into_iter().zip(before).map(|(size, x)| size + kept * f64::from(x.abs())).collect()
        };
        let bounds = [plus(dgamma, &before[0]), plus(dbeta, &before[1]), plus(dx, &before[2])];
        let [dgamma, dbeta, dx] = before.map(|before| Operand::written(write, before));
        let inputs = [read(x), read(gamma), read(mean), read(rstd), dgamma, dbeta];
        let operands = [&inputs[..], &[read(dy), dx]].concat();
        let results = check(&backward(*p, write, false), &operands, &bounds.map(|size| Bound::each(16.0, size)));
        if write == Write::Set {
            for (path, want) in paths().zip(&results) {
                let got = path.run(&backward(*p, write, true), &[&inputs[..], &[update(dy)]].concat());
                assert_bits("group norm backward in place", &got[4..6], &want[4..6]);
                assert_bits("group norm backward in place", &got[6..], &want[7..]);
            }
        }
    }
}

fn check_params(p: GroupNormParams, center: f32) {
    if !is_tested(p.images * p.image_len()) {
        return;
    }
    let case = Case::new(p, center);
    case.check_forward();
    case.check_backward(Write::Set);
    case.check_backward(Write::Add);
}

#[test]
fn passes_equal_the_reference() {
    for (shape, groups) in [
        ([1, 3, 1], 1),
        ([1, 1, 6], 2),
        ([2, 9, 4], 1),
        ([2, 9, 4], 2),
        ([2, 9, 4], 4),
        ([3, 25, 15], 5),
        ([2, 300, 6], 3),
        ([1, 257, 34], 17),
        ([2, 130, 32], 8),
        ([2, 64, 48], 3),
        ([70, 2, 8], 4),
        ([40, 60, 24], 1),
        ([3, 2, 600], 20),
        ([2, 3, 20_000], 4),
        ([2, 9000, 4], 2),
        ([300, 1, 16], 4),
    ] {
        check_params(params(shape, groups), 0.0);
    }
}

#[test]
fn large_means_cost_no_precision() {
    for (shape, groups) in [([2, 1000, 4], 2), ([3, 49, 32], 8)] {
        for mean in [1000.0, -30_000.0] {
            check_params(params(shape, groups), mean);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_shape_equals_the_reference(
        images in 1usize..5, rows in 2usize..100, of_group in 1usize..9, groups in 1usize..9, mean in -4.0f32..4.0,
    ) {
        check_params(params([images, rows, of_group * groups], groups), mean);
    }
}

#[test]
fn gradients_that_are_not_wanted_are_not_written() {
    let case = Case::new(params([3, 50, 6], 2), 0.0);
    let inputs = [&case.x, &case.gamma, &case.mean, &case.rstd].map(|values| read(values));
    let outputs = [Operand::Out(6), Operand::Out(6), read(&case.dy), Operand::Out(900)];
    let full = [&inputs[..], &outputs[..]].concat();
    for path in paths() {
        let pass = backward(case.p, Write::Set, false);
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

/// `group_norm` in f64 of two images of 2 x 1 pixels and 4 channels, and its gradients.
#[test]
fn the_reference_is_pytorch() {
    let x = [1.0, 2.0, -1.0, 0.5, 3.0, -2.0, 0.0, 4.0, 2.0, 2.0, 1.0, -3.0, 0.25, 1.0, 5.0, -1.0];
    let (gamma, beta) = ([1.0, -0.5, 2.0, 0.75], [0.125, 0.25, -0.25, 0.5]);
    let dy: Vec<f32> = (0..16).map(|i| (i % 5) as f32 - 1.5).collect();
    #[rustfmt::skip]
    let cases = [
        (1, [0.1582778691, -0.03286188744, -2.313227885, 0.3252911872, 1.223169681, 1.032029924, -1.248336073,
            1.72296169, 0.6236275977, 0.0006862011276, -0.1645209832, -0.8356096368, -0.1741765586, 0.2286302458,
            3.482583732, -0.1517775028],
            [-1.034893812, -0.155591385, 0.4011767695, 0.3890156451, 0.9899339946, 0.3205432014, -0.7161929504,
            -0.1939914635, 0.3486944195, -0.9049978263, -1.422441106, 0.8957086358, 0.3834378645, -0.3966929048,
            1.103220102, -0.006929184765],
            [3.293860515, 3.373906142, 4.335397449, 2.659851598]),
        (2, [0.125, -0.01726086011, -2.241167128, 0.3506624654, 1.19404344, 1.05178258, -1.179211326, 1.744479455,
            1.057999231, -0.2164996155, 0.08806150871, -0.3874114604, -1.316907903, 0.4620452798, 2.792553578,
            0.1196808027],
            [-1.06904344, -0.2481704714, 0.3143179147, 0.3947247709, 0.8399633577, 0.4772505541, -0.7382814744,
            0.02923878875, 2.089331494, -1.64266543, -1.172348885, 0.6423159393, 0.5955589185, -1.042224983,
            0.6048898203, -0.07485687432],
            [3.351153496, 3.834449119, 3.284156891, 1.883223936]),
        (4, [-0.874995, -0.249999375, -2.249960001, -0.2499987755, 1.124995, 0.749999375, 1.749960001, 1.249998776,
            1.124993469, -0.2499900003, -2.2499975, -0.24999625, -0.8749934695, 0.7499900003, 1.7499975, 1.24999625],
            [-1.99997e-05, -3.124988281e-07, 7.999520024e-05, 6.997050277e-07, 1.99997e-05, 3.124988281e-07,
            -7.999520024e-05, -6.997050277e-07, 7.463410629e-06, -1.999880006e-05, -4.99998125e-06, 3.749943751e-06,
            -7.463410629e-06, 1.999880006e-05, 4.99998125e-06, -3.749943751e-06],
            [4.99997347, 1.999978751, 3.000014999, -1.999993367]),
    ];
    for (groups, y, dx, dgamma) in cases {
        let p = params([2, 2, 4], groups);
        let statistics = [Operand::Out(2 * groups), Operand::Out(2 * groups)];
        let operands = [&[read(&gamma), read(&beta)], &statistics[..], &[read(&x), Operand::Out(16)]].concat();
        let result = run(&Reference, &forward(p, false), &operands);
        // The statistics are inputs of the backward pass, rounded to f32.
        let [mean, rstd] = [2, 3].map(|i| Operand::In(result[i].iter().map(|&x| x as f32).collect()));
        let outputs = [Operand::Out(4), Operand::Out(4), read(&dy), Operand::Out(16)];
        let gradients = run(
            &Reference,
            &backward(p, Write::Set, false),
            &[&[read(&x), read(&gamma), mean, rstd], &outputs[..]].concat(),
        );
        let close = |got: &[f64], want: &[f64], tolerance: f64| {
            for (got, want) in got.iter().zip(want) {
                assert!((got - want).abs() < tolerance, "{groups} groups: {got} and {want}");
            }
        };
        close(&result[5], &y, 1e-8);
        close(&gradients[4], &dgamma, 1e-6);
        close(&gradients[5], &[3.0, 2.0, 1.0, 0.0], 1e-12);
        close(&gradients[7], &dx, 1e-6);
    }
}
