//! Every path against the reference.

use super::{Clip, Norm};
use crate::testing::{Bound, Operand, cases, check, is_tested, lengths, normal, paths, run};
use crate::{Reference, Span};
use proptest::prelude::*;

/// Operands: values and norm.
fn norm(o: &[Span]) -> Norm {
    Norm { x: o[0], norm: o[1] }
}

/// Operands: norm and values.
fn clip(max_norm: f64) -> impl Fn(&[Span]) -> Clip {
    move |o| Clip { max_norm, norm: o[0], x: o[1] }
}

/// On a GPU, a thread adds up to 16 squares in f32, and everything after that is as good as exact. The root halves the
/// relative error.
const NORM: f64 = 12.0;

fn check_norm(x: Vec<f32>) -> Vec<f64> {
    let results = check(&norm, &[Operand::In(x), Operand::Out(1)], &[Bound::relative(NORM)]);
    results.iter().map(|result| result[1][0]).collect()
}

#[test]
fn the_norm_equals_the_reference() {
    for len in lengths() {
        check_norm(normal(1, len));
    }
}

proptest! {
    #![proptest_config(cases(12))]
    /// Values from the smallest to the largest, next to each other.
    #[test]
    fn the_norm_of_any_values_equals_the_reference(len in 1usize..20_000, exponents in 0i32..=110, at in -126i32..=0) {
        if is_tested(len) {
            let scaled = |(i, x): (usize, f32)| x * 2f32.powi(at + (i as i32 * 37) % (exponents + 1));
            check_norm(normal(1, len).into_iter().enumerate().map(scaled).collect());
        }
    }
}

#[test]
fn squares_neither_overflow_nor_underflow() {
    for (x, len) in [(1e20, 4), (1e38, 9), (1e-30, 16), (1e-38, 25), (f32::from_bits(1), 1 << 20), (1e20, 50_000)] {
        if !is_tested(len) {
            continue;
        }
        let want = f64::from(x) * (len as f64).sqrt();
        for got in check_norm(vec![x; len]) {
            assert!((got / want - 1.0).abs() < 1e-6, "{len} times {x:e}: {got:e}, not {want:e}");
        }
    }
    assert!(check_norm(vec![f32::from_bits(1); 1]).iter().all(|norm| *norm == f64::from(f32::from_bits(1))));
    // More than f32 holds
    for path in paths() {
        assert_eq!(path.run(&norm, &[Operand::In(vec![f32::MAX; 2]), Operand::Out(1)])[1], [f64::INFINITY]);
    }
    // The reference, too, whose values may be larger.
    assert!((super::reference::norm(&[3e200, 4e200]) / 5e200 - 1.0).abs() < 1e-15);
    assert!((super::reference::norm(&[3e-200, 4e-200]) / 5e-200 - 1.0).abs() < 1e-15);
}

#[test]
fn a_value_that_is_not_finite_shows_in_the_norm_at_any_place() {
    let places = lengths().filter(|len| *len > 0).flat_map(|len| [0, len / 2, len - 1].map(|place| (len, place)));
    for (len, place) in places {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for others in [1.0, 1e30, 1e-30] {
                let mut x: Vec<f32> = normal(1, len).into_iter().map(|x| x * others).collect();
                x[place] = bad;
                let got = check_norm(x);
                assert!(
                    got.iter().all(|norm| norm.is_nan() == bad.is_nan() && !norm.is_finite()),
                    "{bad} at {place} of {len}"
                );
            }
        }
    }
}

#[test]
fn clipping_equals_the_reference() {
    for len in lengths() {
        for (max_norm, norm) in [(0.5, 3.0), (3.0, 3.0), (4.0, 3.0), (1.0, 1e-7), (1e-3, 1e30), (f64::INFINITY, 3.0)] {
            let before = normal(1, len);
            let operands = [Operand::In(vec![norm]), Operand::InOut(before.clone())];
            for result in check(&clip(max_norm), &operands, &[Bound::relative(6.0)]) {
                if max_norm > f64::from(norm) + 1e-5 {
                    assert!(result[1].iter().zip(&before).all(|(x, before)| *x == f64::from(*before)), "not enlarged");
                }
            }
        }
    }
}

/// The largest norm, and what `torch.nn.utils.clip_grad_norm_` makes of a gradient `[3, -4, 12]`, in f64.
const PYTORCH: [(f64, [f64; 3]); 3] = [
    (6.5, [1.4999998846153937, -1.9999998461538582, 5.999999538461575]),
    (13.0, [2.9999997692307874, -3.9999996923077163, 11.99999907692315]),
    (20.0, [3.0, -4.0, 12.0]),
];

#[test]
fn the_reference_is_pytorch() {
    for (max_norm, want) in PYTORCH {
        let mut x = [3.0, -4.0, 12.0];
        let norm = super::reference::norm(&x);
        x.iter_mut().for_each(|x| *x *= super::reference::factor(max_norm, norm));
        assert_eq!(norm, 13.0);
        assert!((0..3).all(|i| (x[i] - want[i]).abs() < 1e-15), "{x:?}");
    }
}

#[test]
fn a_norm_that_is_not_a_number_leaves_the_values() {
    let operands = [Operand::In(vec![f32::NAN]), Operand::InOut(vec![1.0; 5])];
    let want = |result: &[Vec<f64>]| result[1] == [1.0; 5];
    assert!(want(&run(&Reference, &clip(1.0), &operands)));
    assert!(paths().all(|path| want(&path.run(&clip(1.0), &operands))));
}
