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
    // A term of L1 and MSE is rounded twice, and one of Charbonnier's loss four times. Then come 32 additions in its
    // lane, 2 of accumulators and at most 4 of lanes, all of positive values. The rest is in f64. A term of the
    // cross-entropy has a product that may cancel, and functions that are right to 3 roundings.
    let of_term = |p: f64, t: f64| if loss == Loss::BceWithLogits { p.abs() + (p * t).abs() + 0.7 } else { 0.0 };
    let pairs = prediction.iter().zip(&target).map(|(p, t)| of_term(f64::from(*p), f64::from(*t)));
    let magnitude = pairs.sum::<f64>() / len as f64;
    let bound = if loss == Loss::BceWithLogits { Bound::absolute(41.0, magnitude) } else { Bound::relative(43.0) };
    let operands = [&inputs[..], &[Operand::Out(1)]].concat();
    check(&forward(loss), &operands, &[bound]);

    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let scale = 2.5 / len as f64;
        let magnitudes = (0..len).map(|i| {
            let slope = match loss {
                Loss::BceWithLogits => scale * (1.0 + f64::from(target[i].abs())),
                Loss::L1 | Loss::Mse => scale * 2.0 * f64::from(prediction[i] - target[i]),
                Loss::Charbonnier => scale,
            };
            slope.abs() + if write == Write::Add { f64::from(before[i].abs()) } else { 0.0 }
        });
        let bound = Bound::each(4.0, magnitudes.collect());
        let others = [Operand::In(vec![2.5]), Operand::written(write, before)];
        check(&backward(loss, write), &[&inputs[..], &others].concat(), &[bound]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for loss in [Loss::L1, Loss::Mse, Loss::Charbonnier, Loss::BceWithLogits] {
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
        check_len(Loss::Charbonnier, len);
        check_len(Loss::BceWithLogits, len);
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

/// From errors of which only the square counts to some of which only the absolute value does.
#[test]
fn the_slope_of_charbonniers_loss_bends_where_the_reference_does() {
    let errors = [0.0, 1e-30, 1e-6, -3e-4, 1e-3, -5e-3, 0.1, 1e18];
    for error in errors {
        let operands = [Operand::In(vec![error]), Operand::In(vec![0.0]), Operand::Out(1)];
        check(&forward(Loss::Charbonnier), &operands, &[Bound::relative(3.0)]);
    }
    let inputs = [errors.to_vec(), vec![0.0; errors.len()], vec![errors.len() as f32]].map(Operand::In);
    let operands = [&inputs[..], &[Operand::Out(errors.len())]].concat();
    for result in check(&backward(Loss::Charbonnier, Write::Set), &operands, &[Bound::relative(6.0)]) {
        for (slope, error) in result[3].iter().zip(errors.map(f64::from)) {
            assert!((slope - error / error.hypot(1e-3)).abs() < 1e-6, "{result:?}");
        }
    }
}

#[test]
fn a_loss_that_f32_does_not_hold_is_infinite_on_every_path() {
    for (loss, len) in [(Loss::L1, 1), (Loss::Mse, 1), (Loss::Charbonnier, 1), (Loss::L1, 3000)] {
        let operands = [Operand::In(vec![3e38; len]), Operand::In(vec![-3e38; len]), Operand::Out(1)];
        for path in crate::testing::paths() {
            assert_eq!(path.run(&forward(loss), &operands)[2], [f64::INFINITY], "{loss} of {len} elements");
        }
    }
}

/// PyTorch 2.15 in f64: Charbonnier's loss, and its gradient by autograd.
///
/// ```python
/// p = torch.tensor([-2., 0., .5, .001, 3.], dtype=torch.float64, requires_grad=True)
/// t = torch.tensor([1., 0., .5004, -.001, 2.75], dtype=torch.float64)
/// l = ((p - t) ** 2 + 1e-3 ** 2).sqrt().mean(); l.backward(); print(l, p.grad)
/// ```
#[test]
fn the_reference_of_charbonniers_loss_is_pytorchs() {
    let (p, t) = ([-2.0, 0.0, 0.5, 0.001, 3.0], [1.0, 0.0, 0.5004, -0.001, 2.75]);
    let loss = super::reference::forward(Loss::Charbonnier, &p, &t);
    assert!((loss - 0.650_863_053_519_517_7).abs() < 1e-12, "{loss}");
    let mut gradient = [0.0; 5];
    super::reference::backward(Loss::Charbonnier, [&p, &t], 1.0, &mut gradient, Write::Set);
    let wanted =
        [-0.199_999_988_888_889_84, 0.0, -0.074_278_135_270_813_7, 0.178_885_438_199_983_2, 0.199_998_400_019_199_75];
    for (got, want) in gradient.iter().zip(wanted) {
        assert!((got - want).abs() < 1e-12, "{gradient:?}");
    }
}

/// PyTorch 2.15 in f64: `binary_cross_entropy_with_logits`, and its gradient by autograd.
///
/// ```python
/// p = torch.tensor([-100., -2., 0., .5, 3., 1000.], dtype=torch.float64, requires_grad=True)
/// t = torch.tensor([0., 1., .5, .25, 0., 1.], dtype=torch.float64)
/// l = torch.nn.functional.binary_cross_entropy_with_logits(p, t); l.backward(); print(l, p.grad)
/// ```
#[test]
fn the_reference_of_the_cross_entropy_is_pytorchs() {
    let (p, t) = ([-100.0, -2.0, 0.0, 0.5, 3.0, 1000.0], [0.0, 1.0, 0.5, 0.25, 0.0, 1.0]);
    let loss = super::reference::forward(Loss::BceWithLogits, &p, &t);
    assert!((loss - 1.119_623_254_559_461).abs() < 1e-12, "{loss}");
    let mut gradient = [0.0; 6];
    super::reference::backward(Loss::BceWithLogits, [&p, &t], 1.0, &mut gradient, Write::Set);
    let wanted = [0.0, -0.146_799_512_996_313_75, 0.0, 0.062_076_555_200_309_1, 0.158_762_354_470_405_57, 0.0];
    for (got, want) in gradient.iter().zip(wanted) {
        assert!((got - want).abs() < 1e-12, "{gradient:?}");
    }
}

#[test]
fn the_cross_entropy_of_huge_logits_is_finite_and_that_of_nan_is_not() {
    let loss = Loss::BceWithLogits;
    let with_out = |inputs: [Vec<f32>; 2]| [&inputs.map(Operand::In)[..], &[Operand::Out(1)]].concat();
    let huge = with_out([vec![-3e38, 3e38, -200.0, 200.0, 90.0], vec![0.0, 1.0, 0.0, 1.0, 1.0]]);
    for result in check(&forward(loss), &huge, &[Bound::absolute(1.0, 1e-30)]) {
        assert!(result[2][0].abs() < 1e-30, "{result:?}");
    }
    for path in crate::testing::paths() {
        assert!(path.run(&forward(loss), &with_out([vec![f32::NAN], vec![0.0]]))[2][0].is_nan());
        let operands = [vec![f32::NAN], vec![0.0], vec![1.0]].map(Operand::In);
        let operands = [&operands[..], &[Operand::Out(1)]].concat();
        assert!(path.run(&backward(loss, Write::Set), &operands)[3][0].is_nan());
    }
}
