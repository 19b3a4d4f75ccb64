//! Every path against the reference.

use super::{Backward, Forward, PadParams};
use crate::testing::{Bound, Operand, Pass, cases, check, is_tested, normal};
use crate::{Backend, Span, Write};
use proptest::prelude::*;

struct ForwardPass(PadParams);

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("pad forward {:?}", self.0)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        backend.pad_forward(memory, &self.0, Forward { x: operands[0], y: operands[1] });
    }
}

struct BackwardPass(PadParams, Write);

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("pad backward {:?} {:?}", self.0, self.1)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let (dy, dx) = (operands[0], operands[1]);
        backend.pad_backward(memory, &self.0, Backward { dy, dx, write: self.1 });
    }
}

fn check_params(p: PadParams) {
    let (short, long) = (p.n * p.h0 * p.w0 * p.c, p.n * p.h1 * p.w1 * p.c);
    if !is_tested(long) {
        return;
    }
    let exact = Bound::relative(0.0);
    check(&ForwardPass(p), &[Operand::In(normal(1, short)), Operand::Out(long)], std::slice::from_ref(&exact));
    let dy = normal(2, long);
    check(&BackwardPass(p, Write::Set), &[Operand::In(dy.clone()), Operand::Out(short)], &[exact]);
    // one rounding of a sum of two values, each below 8
    let sum = Bound::absolute(1.0, 16.0);
    check(&BackwardPass(p, Write::Add), &[Operand::In(dy), Operand::InOut(normal(3, short))], &[sum]);
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
