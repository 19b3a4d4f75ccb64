//! Every path against the reference, and which elements are dropped.

use super::Dropout;
use crate::random::{Draws, Key};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, lengths, normal, paths};
use crate::{Backend, Context, Reference, Region, Span, Write};
use proptest::prelude::*;

/// Operands: x and, unless it is in place, y.
fn dropout(p: f64, draws: Draws, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Dropout {
    move |o| Dropout { p, draws, x: o[0], y: o[if inplace { 0 } else { 1 }], write }
}

fn check_len(len: usize, p: f64, draws: Draws) {
    if !is_tested(len) {
        return;
    }
    let x = normal(1, len);
    for write in [Write::Set, Write::Add] {
        let before = normal(2, len);
        let magnitudes =
            x.iter().zip(&before).map(|(x, y)| f64::from(x.abs()) / (1.0 - p) + f64::from(y.abs())).collect();
        let operands = [Operand::In(x.clone()), Operand::written(write, before)];
        // The scale is rounded, the product, and the sum.
        let results = check(&dropout(p, draws, write, false), &operands, &[Bound::each(3.0, magnitudes)]);
        for (path, want) in paths().zip(&results) {
            assert_bits("dropout on another path", want, &results[0]);
            if write == Write::Set {
                let got = path.run(&dropout(p, draws, write, true), &[Operand::InOut(x.clone())]);
                assert_bits("dropout in place", &got, &want[1..]);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    for (stream, first) in [(0, 0), (u64::MAX - 7, 0), (0, 1), (1, 4 * 128 + 100)] {
        for len in lengths() {
            check_len(len, 0.3, Draws { stream, first });
        }
    }
    for p in [0.0, 0.5, 0.999, 1.0 - 1e-9] {
        check_len(1000, p, Draws { stream: 0, first: 0 });
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn any_length_and_share_equal_the_reference(len in 1usize..60_000, p in 0.0..0.99f64, first in 0u64..100_000) {
        check_len(len, p, Draws { stream: 5, first });
    }
}

/// What the reference makes of ones.
fn of_ones(p: f64, key: Key, draws: Draws, len: usize) -> Vec<f64> {
    let [x, y] = [0, 1].map(|region| Span::new(Region(region), 0, len));
    let mut memory = Reference.allocate(&[len, len]).unwrap();
    Reference.fill(&mut memory, x, 1.0);
    let call = Dropout { p, draws, x, y, write: Write::Set }.into();
    Reference.run(&mut memory, &call, Context { key, ..Context::NONE });
    memory.get(y).to_vec()
}

#[test]
fn the_share_that_is_dropped_is_p_and_the_mean_stays() {
    let n = 200_000;
    for p in [0.0, 0.1, 0.5, 0.9] {
        let y = of_ones(p, Key::new(3), Draws { stream: 0, first: 0 }, n);
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / n as f64;
        let deviation = (p * (1.0 - p) / n as f64).sqrt();
        assert!((dropped - p).abs() <= 4.0 * deviation, "{p}: {dropped}");
        let mean = y.iter().sum::<f64>() / n as f64;
        assert!((mean - 1.0).abs() <= 4.0 * deviation / (1.0 - p), "{p}: {mean}");
        assert!(y.iter().all(|y| *y == 0.0 || *y == 1.0 / (1.0 - p)), "{p}");
    }
}

/// Other keys and streams drop other elements; the rest of a batch drops its own.
#[test]
fn what_is_dropped_depends_on_key_stream_and_element_alone() {
    let draws = Draws { stream: 0, first: 0 };
    let here = of_ones(0.5, Key::new(9), draws, 3000);
    assert_eq!(here, of_ones(0.5, Key::new(9), draws, 3000));
    for other in
        [of_ones(0.5, Key::new(10), draws, 3000), of_ones(0.5, Key::new(9), Draws { stream: 1, ..draws }, 3000)]
    {
        let equal = here.iter().zip(&other).filter(|(a, b)| a == b).count() as f64;
        assert!((equal - 1500.0).abs() < 4.0 * (3000f64 / 4.0).sqrt(), "{equal} of 3000");
    }
    for first in [1, 63, 64, 127, 128, 1000, 2999] {
        let rest = of_ones(0.5, Key::new(9), Draws { first: first as u64, ..draws }, 3000 - first);
        assert_eq!(rest, here[first..], "{first}");
    }
}
