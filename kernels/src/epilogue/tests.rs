//! Every path against the reference.

use super::{Backward, EpilogueParams, Forward, NormGradient};
use crate::activation::{Activation, Saved, reference};
use crate::testing::{Bound, Operand, Pass, assert_bits, cases, check, is_tested, normal, paths};
use crate::{Backend, Span, Write};
use proptest::prelude::*;

/// `[z, skip, y, mean, var]`; what is absent is empty, `y` is `z` in place.
struct ForwardPass {
    p: EpilogueParams,
    inplace: bool,
}

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("epilogue forward {:?}", self.p)
    }

    fn workspace_bytes<B: Backend>(&self, backend: &B) -> usize {
        backend.epilogue_forward_workspace_bytes(&self.p)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span) {
        let [z, skip, mean, var] = [0, 1, 3, 4].map(|i| operands[i]);
        let y = operands[if self.inplace { 0 } else { 2 }];
        backend.epilogue_forward(memory, &self.p, Forward { z, skip, y, mean, var, workspace });
    }
}

/// `[saved, g, x, mean, coefficients, dy, total, dz, db]`; what is absent is empty; `dz` is operand `dz`.
struct BackwardPass {
    p: EpilogueParams,
    db_write: Write,
    dz: usize,
}

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("epilogue backward {:?} {:?}, dz is operand {}", self.p, self.db_write, self.dz)
    }

    fn workspace_bytes<B: Backend>(&self, backend: &B) -> usize {
        backend.epilogue_backward_workspace_bytes(&self.p)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span) {
        let [saved, g, x, mean, coefficients, dy, total, dz, db] =
            [0, 1, 2, 3, 4, 5, 6, self.dz, 8].map(|i| operands[i]);
        let norm = NormGradient { dy: g, x, mean, coefficients };
        let operands = Backward { saved, norm, dy, total, dz, db, db_write: self.db_write, workspace };
        backend.epilogue_backward(memory, &self.p, operands);
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

fn check_forward(p: EpilogueParams, has_skip: bool, wants_moments: bool) {
    let z = normal(1, p.len());
    let operands = [
        Operand::In(z.clone()),
        given(has_skip, normal(2, p.len())),
        Operand::Out(p.len()),
        output(wants_moments, p.channels),
        output(wants_moments, p.channels),
    ];
    // values are some units large; the moments of up to 256 rows in f32 round some 16 times
    let bounds = [Bound::absolute(8.0, 8.0), Bound::absolute(8.0, 8.0), Bound::absolute(16.0, 8.0)];
    let results = check(&ForwardPass { p, inplace: false }, &operands, &bounds);
    for (path, want) in paths().zip(&results) {
        let mut operands = operands.to_vec();
        operands[0] = Operand::InOut(z.clone());
        operands[2] = Operand::Out(0);
        let got = path.run(&ForwardPass { p, inplace: true }, &operands);
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
    let pass = |dz| BackwardPass { p, db_write, dz };
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

/// Operands of a [`BackwardPass`], and a bound of the terms that each element is the sum of.
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
            // derivatives are at most some 1.1, and are rounded too
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
    for (has_skip, wants_moments) in [(false, false), (true, false), (false, true), (true, true)] {
        check_forward(p, has_skip, wants_moments);
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
