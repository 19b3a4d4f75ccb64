//! Every path against what the values say.

use super::{CopyIf, Find};
use crate::Span;
use crate::testing::{Bound, Operand, check, lengths, normal};

/// Operands: values and flag.
fn find(o: &[Span]) -> Find {
    Find { values: o[0], flag: o[1] }
}

/// Operands: flag, from and to.
fn copy_if(o: &[Span]) -> CopyIf {
    CopyIf { flag: o[0], from: o[1], to: o[2] }
}

/// Asserts what becomes of a flag, on every path.
fn assert_flag(values: Vec<f32>, before: f32, after: f64) {
    let what = format!("{} values, flag {before}", values.len());
    for result in check(&find, &[Operand::In(values), Operand::InOut(vec![before])], &[Bound::relative(0.0)]) {
        assert_eq!(result[1], [after], "{what}");
    }
}

/// Around the values are NaNs, which the pass must not look at.
#[test]
fn values_as_large_and_as_small_as_can_be_are_finite() {
    for len in lengths() {
        let mut values = normal(1, len);
        let extremes = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), -0.0];
        for (value, extreme) in values.iter_mut().rev().zip(extremes) {
            *value = extreme;
        }
        assert_flag(values, 0.0, 0.0);
    }
}

#[test]
fn one_value_that_is_not_finite_is_found_at_any_place() {
    let places = lengths().filter(|len| *len > 0).flat_map(|len| [0, len / 2, len - 1].map(|place| (len, place)));
    for (i, (len, place)) in places.enumerate() {
        let mut values = normal(1, len);
        values[place] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN][i % 4];
        assert_flag(values, 0.0, 1.0);
    }
}

#[test]
fn a_flag_stays_up() {
    assert_flag(normal(1, 3000), 1.0, 1.0);
    assert_flag(Vec::new(), 1.0, 1.0);
}

#[test]
fn values_are_copied_if_the_flag_is_up_and_left_if_not() {
    for len in lengths() {
        for flag in [0.0, -0.0, 1.0, -1.0, f32::NAN] {
            let (from, to) = (normal(1, len), normal(2, len));
            let want: Vec<f64> = if flag == 0.0 { &to } else { &from }.iter().map(|&x| x.into()).collect();
            let operands = [Operand::In(vec![flag]), Operand::In(from), Operand::InOut(to)];
            for result in check(&copy_if, &operands, &[Bound::relative(0.0)]) {
                assert_eq!(result[2], want, "flag {flag}");
            }
        }
    }
}
