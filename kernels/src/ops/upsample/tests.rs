//! Every path against the reference.

use super::{Backward, Forward, UpsampleParams, Upsampling};
use crate::testing::{Bound, Operand, cases, check, is_tested, normal};
use crate::{Span, Write};
use proptest::prelude::*;

const UPSAMPLINGS: [Upsampling; 2] = [Upsampling::Nearest, Upsampling::Bilinear];

/// Operands: x and y.
fn forward(params: UpsampleParams) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { params, x: o[0], y: o[1] }
}

/// Operands: dy and dx.
fn backward(params: UpsampleParams, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { params, dy: o[0], dx: o[1], write }
}

fn check_params(p: UpsampleParams) {
    let [input, output] = [p.input[0] * p.input_row(), p.output[0] * p.output_row()].map(|image| p.n * image);
    if !is_tested(input.max(output)) {
        return;
    }
    // Two weights are rounded twice each, and four terms added up. All values are below 8, and so is a weighted mean.
    let bound = match p.upsampling {
        Upsampling::Nearest => Bound::relative(0.0),
        Upsampling::Bilinear => Bound::absolute(10.0, 8.0),
    };
    check(&forward(p), &[Operand::In(normal(1, input)), Operand::Out(output)], &[bound]);
    let terms = p.longest_sum() as f64;
    for write in [Write::Set, Write::Add] {
        let operands = [Operand::In(normal(2, output)), Operand::written(write, normal(3, input))];
        check(&backward(p, write), &operands, &[Bound::absolute(terms + 8.0, 8.0 * (terms + 1.0))]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for upsampling in UPSAMPLINGS {
        for (x, size) in [
            ([1, 1, 1, 1], [1, 1]),
            ([1, 1, 1, 1], [3, 4]),
            ([2, 2, 3, 3], [4, 6]),
            ([1, 3, 5, 8], [3, 5]),
            ([2, 4, 5, 17], [7, 3]),
            ([1, 5, 4, 2], [1, 11]),
            ([2, 7, 9, 16], [2, 4]),
            ([1, 13, 11, 5], [1, 1]),
            ([0, 2, 2, 3], [4, 4]),
            ([8, 16, 16, 12], [32, 32]),
            ([1, 26, 26, 33], [22, 44]),
            ([1, 1, 2, 1], [2, 5000]),
            ([1, 1, 3000, 2], [1, 7]),
        ] {
            check_params(UpsampleParams::new(upsampling, x, size).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn any_shape_equals_the_reference(
        upsampling in 0usize..2, n in 1usize..3, [h, w] in [1usize..9, 1..9], c in 1usize..35, size in [1usize..20, 1..20],
    ) {
        check_params(UpsampleParams::new(UPSAMPLINGS[upsampling], [n, h, w, c], size).unwrap());
    }
}

/// `interpolate` of [[1, 2, 4], [-3, 0.5, 7]] in f64, and its gradient where those of the output are 1, 2, 3 and so on.
#[test]
fn the_reference_is_pytorch() {
    use Upsampling::{Bilinear, Nearest};
    let x = [1.0, 2.0, 4.0, -3.0, 0.5, 7.0];
    #[rustfmt::skip]
    let cases = [
        (Nearest, [3, 5], &[1.0, 1.0, 2.0, 2.0, 4.0, 1.0, 1.0, 2.0, 2.0, 4.0, -3.0, -3.0, 0.5, 0.5, 7.0][..],
            [16.0, 24.0, 15.0, 23.0, 27.0, 15.0]),
        (Nearest, [1, 2], &[1.0, 2.0], [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]),
        (Nearest, [5, 2], &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, -3.0, 0.5, -3.0, 0.5], [9.0, 12.0, 0.0, 16.0, 18.0, 0.0]),
        (Bilinear, [4, 6], &[1.0, 1.25, 1.75, 2.5, 3.5, 4.0, 0.0, 0.40625, 1.21875, 2.40625, 3.96875, 4.75,
            -2.0, -1.28125, 0.15625, 2.21875, 4.90625, 6.25, -3.0, -2.125, -0.375, 2.125, 5.375, 7.0],
            [21.5, 29.0, 36.5, 63.5, 71.0, 78.5]),
        (Bilinear, [3, 5], &[1.0, 1.4, 2.0, 3.2, 4.0, -1.0, -0.1, 1.25, 3.8, 5.5, -3.0, -1.6, 0.5, 4.4, 7.0],
            [7.3, 12.6, 15.1, 23.3, 30.6, 31.1]),
        (Bilinear, [5, 2], &[1.25, 3.5, 0.9125, 3.6875, -0.4375, 4.4375, -1.7875, 5.1875, -2.125, 5.375],
            [5.175, 4.075, 7.05, 13.575, 9.675, 15.45]),
    ];
    for (upsampling, size, y, dx) in cases {
        let p = UpsampleParams::new(upsampling, [1, 2, 3, 1], size).unwrap();
        let dy: Vec<f32> = (1..=y.len()).map(|i| i as f32).collect();
        let outputs = [
            crate::testing::run(&crate::Reference, &forward(p), &[Operand::In(x.to_vec()), Operand::Out(y.len())]),
            crate::testing::run(&crate::Reference, &backward(p, Write::Set), &[Operand::In(dy), Operand::Out(6)]),
        ];
        for (got, want) in outputs[0][1].iter().zip(y).chain(outputs[1][1].iter().zip(&dx)) {
            assert!((got - want).abs() < 1e-12, "{upsampling:?} {size:?}: {got} and {want}");
        }
    }
}

/// Where PyTorch's rounded scale would be just below a pixel.
#[test]
fn nearest_pixels_are_exact() {
    let p = UpsampleParams::new(Upsampling::Nearest, [1, 1, 26, 1], [1, 22]).unwrap();
    let x: Vec<f32> = (0..26).map(|i| i as f32).collect();
    for result in check(&forward(p), &[Operand::In(x), Operand::Out(22)], &[Bound::relative(0.0)]) {
        assert_eq!((result[1][10], result[1][11]), (11.0, 13.0));
    }
}

#[test]
fn sizes_that_no_image_has_are_refused() {
    let message = |x, size| UpsampleParams::new(Upsampling::Nearest, x, size).unwrap_err().to_string();
    assert_eq!(message([1, 4, 5, 1], [8, 0]), "the width must be at least 1, not 5 and 0");
    assert_eq!(message([1, 0, 5, 1], [8, 1]), "the height must be at least 1, not 0 and 8");
    assert!(message([1, 4, 5, 1], [usize::MAX / 4, 1]).ends_with("one of them is too large"));
}
