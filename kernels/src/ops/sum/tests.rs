//! Every path against the reference.

use super::{Backward, Forward};
use crate::testing::{Bound, Operand, cases, check, is_tested, lengths, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

fn forward(factor: f64) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { factor, x: o[0], y: o[1] }
}

fn backward(factor: f64, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { factor, dy: o[0], dx: o[1], write }
}

fn check_len(factor: f64, len: usize) {
    if !is_tested(len) {
        return;
    }
    let x = normal(1, len);
    let magnitude = factor.abs() * x.iter().map(|x| f64::from(x.abs())).sum::<f64>();
    // 32 additions in a lane, 2 of accumulators and at most 4 of lanes; the rest is in f64. The factor and the result.
    check(&forward(factor), &[Operand::In(x), Operand::Out(1)], &[Bound::absolute(41.0, magnitude)]);
    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let old = |i: usize| if write == Write::Add { f64::from(before[i].abs()) } else { 0.0 };
        let bound = Bound::each(3.0, (0..len).map(|i| 2.5 * factor.abs() + old(i)).collect());
        check(&backward(factor, write), &[Operand::In(vec![2.5]), Operand::written(write, before)], &[bound]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for len in lengths().filter(|len| *len > 0) {
        check_len(1.0, len);
        check_len(1.0 / len as f64, len);
    }
}

proptest! {
    #![proptest_config(cases(16))]
    #[test]
    fn any_length_equals_the_reference(len in 1usize..60_000, factor in -4.0..4.0) {
        check_len(factor, len);
    }
}

#[test]
fn an_infinite_or_undefined_sum_is_so_on_every_path() {
    let sum = |x: Vec<f32>| {
        paths()
            .map(|path| path.run(&forward(1.0), &[Operand::In(x.clone()), Operand::Out(1)])[1][0])
            .collect::<Vec<f64>>()
    };
    assert!(sum(vec![3e38; 3000]).iter().all(|y| *y == f64::INFINITY));
    assert!(sum(vec![1.0, f32::NAN, 2.0]).iter().all(|y| y.is_nan()));
    assert!(sum(vec![f32::INFINITY, f32::NEG_INFINITY]).iter().all(|y| y.is_nan()));
}
