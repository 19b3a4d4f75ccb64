//! Every path against the reference.

use super::Mul;
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, lengths, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

/// `places` are those of `a`, `b` and `y` in the list of operands.
fn mul(write: Write, places: [usize; 3]) -> impl Fn(&[Span]) -> Mul {
    move |o| {
        let [a, b, y] = places.map(|i| o[i]);
        Mul { a, b, y, write }
    }
}

fn check_len(len: usize) {
    if !is_tested(len) {
        return;
    }
    let (a, b, before) = (normal(1, len), normal(2, len), normal(3, len));
    let (read, update) = (Operand::In, Operand::InOut);
    for write in [Write::Set, Write::Add] {
        let old = |i: usize| if write == Write::Add { f64::from(before[i].abs()) } else { 0.0 };
        let magnitudes = (0..len).map(|i| f64::from((a[i] * b[i]).abs()) + old(i)).collect();
        let operands = [read(a.clone()), read(b.clone()), Operand::written(write, before.clone())];
        check(&mul(write, [0, 1, 2]), &operands, &[Bound::each(2.0, magnitudes)]);
    }
    let set = mul(Write::Set, [0, 1, 2]);
    let results = check(&set, &[read(a.clone()), read(b.clone()), Operand::Out(len)], &[Bound::relative(1.0)]);
    for (path, want) in paths().zip(results) {
        for (places, list) in
            [([0, 1, 0], [update(a.clone()), read(b.clone())]), ([0, 1, 1], [read(a.clone()), update(b.clone())])]
        {
            let got = path.run(&mul(Write::Set, places), &list);
            assert_bits("product in place", &got[places[2]..=places[2]], &want[2..]);
        }
    }
    check(&mul(Write::Set, [0, 0, 0]), &[update(a)], &[Bound::relative(1.0)]);
}

#[test]
fn passes_equal_the_reference() {
    lengths().for_each(check_len);
}

proptest! {
    #![proptest_config(cases(16))]
    #[test]
    fn any_length_equals_the_reference(len in 0usize..60_000) {
        check_len(len);
    }
}
