//! Every path against the reference.

use super::{Add, Scale};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, lengths, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

/// `places` are those of `a`, `b` and `y` in the list of operands.
fn add(weight: f64, places: [usize; 3]) -> impl Fn(&[Span]) -> Add {
    move |o| {
        let [a, b, y] = places.map(|i| o[i]);
        Add { weight, a, b, y }
    }
}

fn scale(weight: f64, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Scale {
    move |o| Scale { weight, x: o[0], y: o[if inplace { 0 } else { 1 }], write }
}

/// `|a| + |weight b|`, element by element
fn magnitudes(weight: f64, a: &[f32], b: &[f32]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs()) + (weight * f64::from(*b)).abs()).collect()
}

fn check_add(weight: f64, len: usize) {
    if !is_tested(len) {
        return;
    }
    let (a, b) = (normal(1, len), normal(2, len));
    let (read, update) = (Operand::In, Operand::InOut);
    // the weight itself is rounded too
    let bounds = [Bound::each(3.0, magnitudes(weight, &a, &b))];
    let pass = add(weight, [0, 1, 2]);
    let results = check(&pass, &[read(a.clone()), read(b.clone()), Operand::Out(len)], &bounds);
    for (path, want) in paths().zip(results) {
        for (operands, list) in
            [([0, 1, 0], [update(a.clone()), read(b.clone())]), ([0, 1, 1], [read(a.clone()), update(b.clone())])]
        {
            let got = path.run(&add(weight, operands), &list);
            assert_bits("add in place", &got[operands[2]..=operands[2]], &want[2..]);
        }
    }
    let doubled = add(weight, [0, 0, 0]);
    check(&doubled, &[update(a.clone())], &[Bound::each(3.0, magnitudes(weight, &a, &a))]);
}

fn check_scale(weight: f64, len: usize) {
    if !is_tested(len) {
        return;
    }
    let (x, before) = (normal(1, len), normal(2, len));
    for write in [Write::Set, Write::Add] {
        let pass = scale(weight, write, false);
        let operands = [Operand::In(x.clone()), Operand::written(write, before.clone())];
        let results = check(&pass, &operands, &[Bound::each(3.0, magnitudes(weight, &before, &x))]);
        if write == Write::Set {
            let pass = scale(weight, write, true);
            for (path, want) in paths().zip(results) {
                assert_bits("scale in place", &path.run(&pass, &[Operand::InOut(x.clone())]), &want[1..]);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    for weight in [1.0, 0.1, -2.5, 0.0] {
        for len in lengths() {
            check_add(weight, len);
            check_scale(weight, len);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_length_equals_the_reference(len in 0usize..60_000, weight in -4.0..4.0) {
        check_add(weight, len);
        check_scale(weight, len);
    }
}

#[test]
fn a_copy_keeps_every_bit() {
    let x = vec![-0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, f32::MAX, 0.1];
    let pass = scale(1.0, Write::Set, false);
    let want: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    for path in paths() {
        let got = path.run(&pass, &[Operand::In(x.clone()), Operand::Out(x.len())]);
        assert_bits("copy", &got[1..], std::slice::from_ref(&want));
    }
}
