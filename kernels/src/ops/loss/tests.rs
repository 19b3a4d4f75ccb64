//! Every path against the reference.

use super::{Backward, Forward, Loss};
use crate::testing::{Bound, Operand, cases, check, is_tested, lengths, normal};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: prediction, target and the loss.
fn forward(loss: Loss) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { loss, prediction: o[0], target: o[1], out: o[2] }
}

/// Operands: prediction, target, dloss and dprediction.
fn backward(loss: Loss, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { loss, prediction: o[0], target: o[1], dloss: o[2], dprediction: o[3], write }
}

fn check_len(loss: Loss, len: usize) {
    if !is_tested(len) {
        return;
    }
    let (prediction, target) = (normal(1, len), normal(2, len));
    let inputs = [Operand::In(prediction.clone()), Operand::In(target.clone())];
    // A term is rounded twice. Then come 32 additions in its lane, 2 of accumulators and at most 4 of lanes, all of
    // positive values. The rest is in f64.
    let operands = [&inputs[..], &[Operand::Out(1)]].concat();
    check(&forward(loss), &operands, &[Bound::relative(41.0)]);

    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let scale = 2.5 / len as f64;
        let magnitudes = (0..len).map(|i| {
            let slope = scale * 2.0 * f64::from(prediction[i] - target[i]);
            slope.abs() + if write == Write::Add { f64::from(before[i].abs()) } else { 0.0 }
        });
        let bound = Bound::each(4.0, magnitudes.collect());
        let others = [Operand::In(vec![2.5]), Operand::written(write, before)];
        check(&backward(loss, write), &[&inputs[..], &others].concat(), &[bound]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for loss in [Loss::L1, Loss::Mse] {
        for len in lengths() {
            check_len(loss, len);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_length_equals_the_reference(len in 1usize..60_000) {
        check_len(Loss::L1, len);
        check_len(Loss::Mse, len);
    }
}

#[test]
fn the_slope_of_l1_is_0_where_prediction_and_target_are_equal() {
    let inputs = [vec![1.0, 2.0, 3.0, f32::NAN], vec![1.0, 3.0, 2.0, 0.0]].map(Operand::In);
    let others = [Operand::In(vec![4.0]), Operand::Out(4)];
    for result in check(&backward(Loss::L1, Write::Set), &[inputs, others].concat(), &[Bound::relative(0.0)]) {
        assert_eq!(result[3][..3], [0.0, -1.0, 1.0]);
    }
}

#[test]
fn a_loss_that_f32_does_not_hold_is_infinite_on_every_path() {
    for (loss, len) in [(Loss::L1, 1), (Loss::Mse, 1), (Loss::L1, 3000)] {
        let operands = [Operand::In(vec![3e38; len]), Operand::In(vec![-3e38; len]), Operand::Out(1)];
        for path in crate::testing::paths() {
            assert_eq!(path.run(&forward(loss), &operands)[2], [f64::INFINITY], "{loss} of {len} elements");
        }
    }
}
