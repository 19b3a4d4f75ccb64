//! Every path against the reference.

use super::{Backward, Forward, PoolParams, Pooling};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal};
use crate::{Span, Write};
use proptest::prelude::*;

const POOLINGS: [Pooling; 3] = [Pooling::Max, Pooling::Average, Pooling::AverageInside];

/// Operands: x and y.
fn forward(params: PoolParams) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { params, x: o[0], y: o[1] }
}

/// Operands: x, dy and dx.
fn backward(params: PoolParams, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { params, x: o[0], dy: o[1], dx: o[2], write }
}

fn check_params(p: PoolParams) {
    let (input, output) = (p.n * p.input_len(), p.n * p.output_len());
    if !is_tested(input * p.kernel[0] * p.kernel[1]) {
        return;
    }
    // Many values are equal: ties.
    let coarse = |seed, len| -> Vec<f32> { normal(seed, len).iter().map(|x| (2.0 * x).round() / 2.0).collect() };
    let x = if p.pooling == Pooling::Max { coarse(1, input) } else { normal(1, input) };
    // A term is rounded once by each addition, and the sum by a product with a share that is rounded itself. All values
    // are below 8.
    let terms = p.longest_forward_sum() as f64;
    let summed = Bound::absolute(terms + 2.0, 8.0 * terms / p.divisor(1) as f64);
    let bound = if p.pooling == Pooling::Max { Bound::relative(0.0) } else { summed };
    check(&forward(p), &[Operand::In(x.clone()), Operand::Out(output)], &[bound]);
    let windows = p.longest_backward_sum() as f64;
    for write in [Write::Set, Write::Add] {
        let operands =
            [Operand::In(x.clone()), Operand::In(normal(2, output)), Operand::written(write, normal(3, input))];
        check(&backward(p, write), &operands, &[Bound::absolute(windows + 3.0, 8.0 * (windows + 1.0))]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for pooling in POOLINGS {
        for (x, kernel, stride, padding) in [
            ([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
            ([2, 4, 6, 3], [2, 2], [2, 2], [0, 0]),
            ([1, 5, 7, 8], [3, 3], [2, 2], [1, 1]),
            ([2, 6, 5, 17], [3, 2], [1, 3], [1, 0]),
            ([1, 3, 3, 16], [3, 3], [1, 1], [0, 0]),
            ([3, 2, 9, 5], [2, 5], [4, 1], [1, 2]),
            ([0, 4, 4, 2], [2, 2], [2, 2], [0, 0]),
            ([64, 28, 28, 6], [2, 2], [2, 2], [0, 0]),
            ([2, 7, 7, 33], [7, 7], [1 << 40, 1 << 40], [0, 0]),
        ] {
            check_params(PoolParams::new(pooling, x, kernel, stride, padding).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn any_shape_equals_the_reference(
        pooling in 0usize..3, n in 1usize..3, [h, w] in [1usize..9, 1..9], c in 1usize..35, kernel in [1usize..5, 1..5],
        stride in [1usize..5, 1..5], padding in [0usize..3, 0..3],
    ) {
        if let Ok(params) = PoolParams::new(POOLINGS[pooling], [n, h, w, c], kernel, stride, padding) {
            check_params(params);
        }
    }
}

/// `max_pool2d` of PyTorch: the first of equal values, and the last NaN, has the gradient; of two zeros, the first is
/// taken, whatever its sign.
#[test]
fn ties_are_broken_as_in_pytorch() {
    let p = PoolParams::new(Pooling::Max, [1, 1, 4, 1], [1, 4], [1, 1], [0, 0]).unwrap();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for (x, largest) in [
        ([1.0, 3.0, 3.0, 2.0], 1),
        ([-0.0, 0.0, -1.0, 0.0], 0),
        ([1.0, nan, 5.0, 2.0], 1),
        ([nan, 7.0, nan, inf], 2),
        ([-inf, -inf, -inf, -inf], 0),
        ([f32::MIN, -inf, f32::MIN, nan], 3),
    ] {
        for path in crate::testing::paths() {
            let y = path.run(&forward(p), &[Operand::In(x.to_vec()), Operand::Out(1)])[1][0];
            assert_eq!(y.to_bits() << 1, f64::from(x[largest]).to_bits() << 1, "{x:?}: {y}");
        }
        let operands = [Operand::In(x.to_vec()), Operand::In(vec![2.5]), Operand::Out(4)];
        for result in check(&backward(p, Write::Set), &operands, &[Bound::relative(0.0)]) {
            let mut want = [0.0; 4];
            want[largest] = 2.5;
            assert_eq!(result[2], want, "{x:?}");
        }
    }
}

/// `avg_pool2d(kernel_size=2, stride=2, padding=1)` of [[1, 2], [3, 4]], and with `count_include_pad=False`.
#[test]
fn padding_counts_or_not_as_in_pytorch() {
    for (pooling, want) in [(Pooling::Average, [0.25, 0.5, 0.75, 1.0]), (Pooling::AverageInside, [1.0, 2.0, 3.0, 4.0])]
    {
        let p = PoolParams::new(pooling, [1, 2, 2, 1], [2, 2], [2, 2], [1, 1]).unwrap();
        let operands = [Operand::In(vec![1.0, 2.0, 3.0, 4.0]), Operand::Out(4)];
        for result in check(&forward(p), &operands, &[Bound::relative(0.0)]) {
            assert_eq!(result[1], want);
        }
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let message = |kernel, stride, padding| {
        PoolParams::new(Pooling::Max, [1, 4, 5, 1], kernel, stride, padding).unwrap_err().to_string()
    };
    assert!(message([0, 1], [1, 1], [0, 0]).starts_with("the window's height and the vertical stride must be"));
    assert!(message([1, 1], [1, 0], [0, 0]).contains("horizontal stride"));
    assert_eq!(message([2, 2], [1, 1], [0, 2]), "the horizontal padding 2 must be at most half the window's width 2");
    assert_eq!(message([2, 6], [1, 1], [0, 0]), "the window's width 6 exceeds the padded input's 5 (5 + 2 * 0)");
    assert!(message([2, usize::MAX], [1, 1], [0, usize::MAX / 2]).ends_with("has too many pixels"));
    assert!(message([1, usize::MAX], [1, 1], [0, usize::MAX / 2 - 9]).contains("exceeds"));
}
