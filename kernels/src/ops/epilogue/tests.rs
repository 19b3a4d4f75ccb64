//! Every path against the reference.

use super::{Backward, EpilogueParams, Forward, NormGradient};
use crate::activation::{Activation, Saved, reference};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, normal, paths};
use crate::{Call, Region, Span, Write};
use proptest::prelude::*;

/// Operands: z, skip, y, mean, var. Those that are absent are empty; `y` is `z` in place.
fn forward(params: EpilogueParams, inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| {
        let [z, skip, mean, var] = [0, 1, 3, 4].map(|i| o[i]);
        Forward { params, z, skip, y: o[if inplace { 0 } else { 2 }], mean, var }
    }
}

/// Operands: saved, g, x, mean, coefficients, dy, total, dz, db. Those that are absent are empty; `dz` is operand `dz`.
fn backward(params: EpilogueParams, db_write: Write, dz: usize) -> impl Fn(&[Span]) -> Backward {
    move |o| {
        let [saved, g, x, mean, coefficients, dy, total, dz, db] = [0, 1, 2, 3, 4, 5, 6, dz, 8].map(|i| o[i]);
        let norm = NormGradient { dy: g, x, mean, coefficients };
        Backward { params, saved, norm, dy, total, dz, db, db_write }
    }
}

fn params(rows: usize, channels: usize, activation: Option<Activation>) -> EpilogueParams {
    EpilogueParams { rows, channels, activation, skip_weight: 0.3, dy_weight: -0.7 }
}

fn given(is_there: bool, values: Vec<f32>) -> Operand {
    Operand::In(if is_there { values } else { Vec::new() })
}

fn output(is_there: bool, len: usize) -> Operand {
    Operand::Out(if is_there { len } else { 0 })
}

fn check_forward(p: EpilogueParams, has_skip: bool, wants_stats: bool) {
    let z = normal(1, p.len());
    let operands = [
        Operand::In(z.clone()),
        given(has_skip, normal(2, p.len())),
        Operand::Out(p.len()),
        output(wants_stats, p.channels),
        output(wants_stats, p.channels),
    ];
    // Values are some units large. Sums of up to 256 rows in f32 round some 16 times.
    let bounds = [Bound::absolute(8.0, 8.0), Bound::absolute(8.0, 8.0), Bound::absolute(16.0, 8.0)];
    let results = check(&forward(p, false), &operands, &bounds);
    for (path, want) in paths().zip(&results) {
        let mut operands = operands.to_vec();
        operands[0] = Operand::InOut(z.clone());
        operands[2] = Operand::Out(0);
        let got = path.run(&forward(p, true), &operands);
        assert_bits("epilogue forward in place", &got[..1], &want[2..3]);
        assert_bits("epilogue forward in place", &got[3..], &want[3..]);
    }
}

fn check_backward(p: EpilogueParams, [has_norm, has_dy, wants_total, wants_db]: [bool; 4], db_write: Write) {
    let BackwardCase { operands, terms } = BackwardCase::new(p, [has_norm, has_dy, wants_total, wants_db], db_write);
    let mut sums = vec![8.0; p.channels];
    terms.iter().enumerate().for_each(|(i, term)| sums[i % p.channels] += term);
    let elements = |wanted: bool| Bound::each(16.0, if wanted { terms.clone() } else { Vec::new() });
    let bounds = [elements(wants_total), elements(true), Bound::each(16.0, if wants_db { sums } else { Vec::new() })];
    let pass = |dz| backward(p, db_write, dz);
    let results = check(&pass(7), &operands, &bounds);
    let alias = if has_norm { 1 } else { 5 };
    for (path, want) in paths().zip(&results) {
        let mut operands = operands.to_vec();
        let Operand::In(values) = operands[alias].clone() else { unreachable!("an input") };
        operands[alias] = Operand::InOut(values);
        operands[7] = Operand::Out(0);
        let got = path.run(&pass(alias), &operands);
        assert_bits("dz in place", &got[alias..=alias], &want[7..8]);
        assert_bits("total with dz in place", &got[6..7], &want[6..7]);
        assert_bits("db with dz in place", &got[8..], &want[8..]);
    }
}

/// Operands of the backward pass, and for each element a bound of the terms that it is the sum of.
struct BackwardCase {
    operands: [Operand; 9],
    terms: Vec<f64>,
}

impl BackwardCase {
    fn new(p: EpilogueParams, [has_norm, has_dy, wants_total, wants_db]: [bool; 4], db_write: Write) -> BackwardCase {
        let len = p.len();
        let z = normal(1, len);
        let saved: Vec<f32> = match p.activation.map(|f| (f, f.saved())) {
            Some((f, Saved::Output)) => z.iter().map(|&z| reference::value(f, f64::from(z)) as f32).collect(),
            _ => z,
        };
        let (g, x, dy) = (normal(2, len), normal(3, len), normal(6, len));
        let (mean, coefficients) = (normal(4, p.channels), normal(5, 3 * p.channels));
        let terms = (0..len).map(|i| {
            let c = i % p.channels;
            let [a, b, offset] = [0, 1, 2].map(|k| f64::from(coefficients[k * p.channels + c].abs()));
            let deviation = f64::from(x[i].abs()) + f64::from(mean[c].abs());
            let norm = if has_norm { a * f64::from(g[i].abs()) + b * deviation + offset } else { 0.0 };
            // Derivatives are at most some 1.1, and are rounded too.
            2.0 * (norm + f64::from(dy[i].abs())) + 1e-3
        });
        let terms = terms.collect();
        let operands = [
            given(p.activation.is_some(), saved),
            given(has_norm, g),
            given(has_norm, x),
            given(has_norm, mean),
            given(has_norm, coefficients),
            given(has_dy, dy),
            output(wants_total, len),
            Operand::Out(len),
            if wants_db { Operand::written(db_write, normal(7, p.channels)) } else { Operand::Out(0) },
        ];
        BackwardCase { operands, terms }
    }
}

fn check_params(rows: usize, channels: usize, activation: Option<Activation>) {
    let p = params(rows, channels, activation);
    if !is_tested(p.len()) {
        return;
    }
    for (has_skip, wants_stats) in [(false, false), (true, false), (false, true), (true, true)] {
        check_forward(p, has_skip, wants_stats);
    }
    for sources in [[true, false], [false, true], [true, true]] {
        for wants_db in [false, true] {
            let write = if sources[0] { Write::Set } else { Write::Add };
            check_backward(p, [sources[0], sources[1], false, wants_db], write);
            if activation.is_some() {
                check_backward(p, [sources[0], sources[1], true, wants_db], write);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    let shapes = [
        (1, 1),
        (1, 5),
        (2, 1),
        (3, 7),
        (300, 1),
        (257, 17),
        (999, 9),
        (513, 16),
        (130, 17),
        (1100, 32),
        (5, 700),
        (2, 20_000),
    ];
    for (rows, channels) in shapes {
        for activation in [None, Some(Activation::Gelu), Some(Activation::Sigmoid)] {
            check_params(rows, channels, activation);
        }
    }
}

#[test]
fn every_activation_equals_the_reference() {
    for f in Activation::ALL {
        check_params(37, 5, Some(f));
    }
}

proptest! {
    #![proptest_config(cases(16))]
    #[test]
    fn any_shape_equals_the_reference(rows in 1usize..700, channels in 1usize..40) {
        check_params(rows, channels, Some(Activation::Gelu));
        check_params(rows, channels, None);
    }
}

/// `dz` may take the place of `g`, and that of `dy` if there is no `g`.
#[test]
fn the_gradient_of_z_takes_the_place_of_one_gradient() {
    let p = params(2, 3, None);
    let span = |i, len| Span::new(Region(i), 0, len);
    let operands = |has_norm: bool, has_dy: bool| -> Vec<Span> {
        let lens = [(6, has_norm), (6, has_norm), (3, has_norm), (9, has_norm), (6, has_dy), (0, false), (6, true)];
        let others = (1..).zip(lens).map(|(i, (len, is_there))| if is_there { span(i, len) } else { Span::EMPTY });
        [Span::EMPTY].into_iter().chain(others).chain([Span::EMPTY]).collect()
    };
    for (has_norm, has_dy, candidate) in [(true, false, 1), (true, true, 1), (false, true, 5)] {
        let operands = operands(has_norm, has_dy);
        let call: Call = backward(p, Write::Set, 7)(&operands).into();
        assert_eq!(call.in_place(), Some((operands[7], vec![operands[candidate]])));
        call.check(Span::EMPTY);
    }
}

#[test]
#[should_panic(expected = "overlaps")]
fn the_gradient_of_z_is_written_before_the_second_gradient_is_read() {
    let span = |i, len| Span::new(Region(i), 0, len);
    let norm = NormGradient { dy: span(0, 6), x: span(1, 6), mean: span(2, 3), coefficients: span(3, 9) };
    let (params, dy) = (params(2, 3, None), span(4, 6));
    let (saved, total, db) = (Span::EMPTY, Span::EMPTY, Span::EMPTY);
    Call::from(Backward { params, saved, norm, dy, total, dz: dy, db, db_write: Write::Set }).check(Span::EMPTY);
}
