//! Every path against the reference.

use super::{Backward, CrossEntropyParams, Forward};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: logits, targets, the loss and the count.
fn forward(params: CrossEntropyParams) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { params, logits: o[0], targets: o[1], out: o[2], count: o[3] }
}

/// Operands: logits, targets, count, dloss and dlogits.
fn backward(params: CrossEntropyParams, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { params, logits: o[0], targets: o[1], count: o[2], dloss: o[3], dlogits: o[4], write }
}

fn params(rows: usize, classes: usize, label_smoothing: f64) -> CrossEntropyParams {
    CrossEntropyParams { rows, classes, label_smoothing, ignored: Some(-100) }
}

/// Logits with a deviation of 3, and classes of which every fifth is ignored, but for the first.
fn inputs(p: &CrossEntropyParams) -> [Vec<f32>; 2] {
    let logits = normal(1, p.rows * p.classes).iter().map(|x| 3.0 * x).collect();
    let class = |row: usize| if row % 5 == 4 { -100.0 } else { (row * 7 % p.classes) as f32 };
    [logits, (0..p.rows).map(class).collect()]
}

fn check_params(p: CrossEntropyParams) {
    if !is_tested(p.rows * p.classes) {
        return;
    }
    let [logits, targets] = inputs(&p);
    // An exponential is off by 2 units in the last place, a sum of K of them by K / 2 more, relative to the sum; so is
    // its logarithm, absolutely. Logits are below 24, and their differences are rounded once on a GPU.
    let (k, rows) = (p.classes as f64, p.rows as f64);
    let loss = Bound::absolute(k + 8.0 + if p.label_smoothing > 0.0 { k } else { 0.0 } + rows.min(64.0), 64.0);
    let operands = [Operand::In(logits.clone()), Operand::In(targets.clone()), Operand::Out(1), Operand::Out(1)];
    let results = check(&forward(p), &operands, &[loss, Bound::relative(0.0)]);
    let count = p.rows - p.rows / 5;
    assert!(results.iter().all(|result| result[3] == [count as f64]));
    for write in [Write::Set, Write::Add] {
        let scale = 2.5 / count as f64;
        let before = if write == Write::Add { 8.0 } else { 0.0 };
        let operands = [
            Operand::In(logits.clone()),
            Operand::In(targets.clone()),
            Operand::In(vec![count as f32]),
            Operand::In(vec![2.5]),
            Operand::written(write, normal(3, p.rows * p.classes)),
        ];
        check(&backward(p, write), &operands, &[Bound::absolute(k + 64.0, scale + before / 32.0)]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for (rows, classes) in [(1, 1), (1, 2), (3, 10), (16, 10), (17, 3), (64, 10), (100, 129), (5, 1000), (3000, 7)] {
        for label_smoothing in [0.0, 0.1, 1.0] {
            check_params(params(rows, classes, label_smoothing));
        }
    }
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn any_shape_equals_the_reference(rows in 1usize..200, classes in 1usize..40, smoothing in 0.0..1.0) {
        check_params(params(rows, classes, smoothing));
    }
}

/// The loss of one row, on every path.
fn losses(logits: &[f32], target: f32, label_smoothing: f64) -> Vec<f64> {
    let operands = [Operand::In(logits.to_vec()), Operand::In(vec![target]), Operand::Out(1), Operand::Out(1)];
    let p = params(1, logits.len(), label_smoothing);
    crate::testing::paths().map(|path| path.run(&forward(p), &operands)[2][0]).collect()
}

/// `torch.nn.functional.cross_entropy` of [[1, 2, 3]] and class 0, in f64: without smoothing, and with 0.1.
#[test]
fn the_loss_is_that_of_pytorch() {
    for (smoothing, want) in [(0.0, 2.407_605_964_444_38), (0.1, 2.307_605_964_444_38)] {
        for loss in losses(&[1.0, 2.0, 3.0], 0.0, smoothing) {
            assert!((loss - want).abs() < 1e-6, "{loss} and {want}");
        }
    }
}

#[test]
fn huge_logits_are_stable() {
    for loss in losses(&[1e30, -1e30, 0.0], 0.0, 0.0) {
        assert_eq!(loss, 0.0);
    }
    for loss in losses(&[3e38, -3e38], 1.0, 0.0) {
        assert!(loss > 1e38, "{loss}");
    }
    for loss in losses(&[f32::NEG_INFINITY, 1.0], 1.0, 0.0) {
        assert_eq!(loss, 0.0);
    }
}

#[test]
fn what_is_no_class_and_what_is_no_number_gives_nan() {
    for target in [3.0, -1.0, 0.5, f32::NAN, 1e30, f32::INFINITY] {
        assert!(losses(&[1.0, 2.0, 3.0], target, 0.0).iter().all(|loss| loss.is_nan()), "{target}");
        for path in crate::testing::paths() {
            let operands = [
                Operand::In(vec![1.0, 2.0, 3.0]),
                Operand::In(vec![target]),
                Operand::In(vec![1.0]),
                Operand::In(vec![1.0]),
                Operand::Out(3),
            ];
            let result = path.run(&backward(params(1, 3, 0.0), Write::Set), &operands);
            assert!(result[4].iter().all(|x| x.is_nan()), "{target}: {:?}", result[4]);
        }
    }
    for logit in [f32::NAN, f32::INFINITY] {
        for place in 0..3 {
            let mut logits = [1.0, 2.0, 3.0];
            logits[place] = logit;
            assert!(losses(&logits, 1.0, 0.0).iter().all(|loss| loss.is_nan()), "{logits:?}");
        }
    }
    assert!(losses(&[1.0, 2.0], -100.0, 0.0).iter().all(|loss| loss.is_nan()), "a mean over nothing");
}
