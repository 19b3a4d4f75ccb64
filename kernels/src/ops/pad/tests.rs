//! Every path against the reference.

use super::{Backward, Forward, PadParams};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: x and y.
fn forward(params: PadParams) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { params, x: o[0], y: o[1] }
}

/// Operands: dy and dx.
fn backward(params: PadParams, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { params, dy: o[0], dx: o[1], write }
}

fn check_params(p: PadParams) {
    let (short, long) = (p.n * p.h0 * p.w0 * p.c, p.n * p.h1 * p.w1 * p.c);
    if !is_tested(long) {
        return;
    }
    let exact = Bound::relative(0.0);
    check(&forward(p), &[Operand::In(normal(1, short)), Operand::Out(long)], std::slice::from_ref(&exact));
    let dy = normal(2, long);
    check(&backward(p, Write::Set), &[Operand::In(dy.clone()), Operand::Out(short)], &[exact]);
    // A sum of two values, each below 8, is rounded once.
    let sum = Bound::absolute(1.0, 16.0);
    check(&backward(p, Write::Add), &[Operand::In(dy), Operand::InOut(normal(3, short))], &[sum]);
}

#[test]
fn passes_equal_the_reference() {
    for (n, [h0, w0], [h1, w1], c) in [
        (1, [1, 1], [1, 1], 1),
        (1, [1, 1], [2, 3], 1),
        (2, [3, 5], [3, 5], 7),
        (2, [3, 5], [4, 5], 8),
        (2, [3, 5], [3, 6], 9),
        (0, [3, 5], [4, 6], 2),
        (3, [0, 0], [2, 2], 5),
        (1, [0, 1], [2, 1], 1),
        (64, [15, 15], [16, 16], 32),
    ] {
        check_params(PadParams { n, h0, w0, h1, w1, c });
    }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn any_shape_equals_the_reference(
        n in 0usize..4, h0 in 0usize..7, w0 in 0usize..7, below in 0usize..3, right in 0usize..3, c in 1usize..20,
    ) {
        check_params(PadParams { n, h0, w0, h1: h0 + below, w1: w0 + right, c });
    }
}
