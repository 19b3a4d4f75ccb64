//! Every path against the reference.

use super::{Step, Swap};
use crate::Span;
use crate::testing::{Bound, Operand, check, lengths, normal, paths};

/// Operands: param, average and, if it is there, the flag.
fn step(decay: f64) -> impl Fn(&[Span]) -> Step {
    move |o| Step { decay, param: o[0], average: o[1], unless: o.get(2).copied().unwrap_or(Span::EMPTY) }
}

#[test]
fn a_step_equals_the_reference() {
    for decay in [0.0, 0.5, 0.999, 0.9999] {
        for len in lengths() {
            let (param, average) = (normal(1, len), normal(2, len));
            // The share of the parameter is rounded, and so are the distance and the result.
            let size = |i: usize| f64::from(average[i].abs()) + (1.0 - decay) * f64::from(param[i].abs());
            let bound = Bound::each(6.0, (0..len).map(size).collect());
            check(&step(decay), &[Operand::In(param), Operand::InOut(average.clone())], &[bound]);
        }
    }
}

#[test]
fn an_average_of_equal_values_stays() {
    let operands = [Operand::In(vec![0.3; 21]), Operand::InOut(vec![0.3; 21])];
    for result in check(&step(0.999), &operands, &[Bound::relative(1.0)]) {
        assert_eq!(result[1], [f64::from(0.3f32); 21]);
    }
}

#[test]
fn values_far_apart_have_a_finite_average() {
    for (param, average) in [(3e38, -3e38), (-3e38, 3e38), (f32::MAX, f32::MIN)] {
        let operands = [Operand::In(vec![param; 3]), Operand::InOut(vec![average; 3])];
        check(&step(0.75), &operands, &[Bound::absolute(4.0, 3.5e38)]);
    }
}

#[test]
fn a_flag_that_is_up_leaves_all_as_it_is() {
    for len in lengths() {
        let operands = |flag: Option<f32>| {
            let mut operands = vec![Operand::In(normal(1, len)), Operand::InOut(normal(2, len))];
            operands.extend(flag.map(|flag| Operand::In(vec![flag])));
            operands
        };
        let before: Vec<f64> = normal(2, len).iter().map(|&x| f64::from(x)).collect();
        for path in paths() {
            let after = |flag| path.run(&step(0.5), &operands(flag))[1].clone();
            assert!([1.0, f32::NAN].into_iter().all(|up| after(Some(up)) == before));
            assert_eq!(after(Some(0.0)), after(None), "one that is down");
        }
    }
}

#[test]
fn two_arrays_are_exchanged() {
    for len in lengths() {
        let operands = [normal(1, len), normal(2, len)];
        let want = [1, 0].map(|i: usize| operands[i].iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        let make = |o: &[Span]| Swap { a: o[0], b: o[1] };
        for result in check(&make, &operands.map(Operand::InOut), &[Bound::relative(0.0), Bound::relative(0.0)]) {
            assert_eq!(result, want);
        }
    }
}
