//! Every path against the reference, and the reference against PyTorch.

use super::{Backward, Forward, reference};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, lengths, normal, paths};
use crate::{Span, Write};
use proptest::prelude::*;

/// Operands: x, slope and, unless it is in place, y.
fn forward(inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { x: o[0], slope: o[1], y: o[if inplace { 0 } else { 2 }] }
}

/// Which gradients are written, and where.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Both,
    Inplace,
    InputAlone,
    SlopeAlone,
}

/// Operands: x, slope, dy and what is wanted.
fn backward(wanted: Wanted, write: Write) -> impl Fn(&[Span]) -> Backward {
    move |o| {
        let (x, slope, dy) = (o[0], o[1], o[2]);
        let (dx, dslope) = match wanted {
            Wanted::Both => (o[3], o[4]),
            Wanted::Inplace => (dy, o[3]),
            Wanted::InputAlone => (o[3], Span::EMPTY),
            Wanted::SlopeAlone => (Span::EMPTY, o[3]),
        };
        Backward { x, slope, dy, dx, dx_write: write, dslope, dslope_write: write }
    }
}

fn check_len(len: usize, slope: f32) {
    if !is_tested(len) {
        return;
    }
    let (x, dy) = (normal(1, len), normal(2, len));
    let (given, a) = (Operand::In(x.clone()), Operand::In(vec![slope]));
    let results = check(&forward(false), &[given.clone(), a.clone(), Operand::Out(len)], &[Bound::relative(1.0)]);
    for (path, want) in paths().zip(results) {
        let got = path.run(&forward(true), &[Operand::InOut(x.clone()), a.clone()]);
        assert_bits("prelu forward in place", &got[..1], &want[2..]);
    }

    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let [dx, dslope] = [before.clone(), vec![0.75]].map(|before| Operand::written(write, before));
        // the product and the addition
        let magnitude =
            |i: usize| f64::from(dy[i]).abs() * f64::from(slope).abs().max(1.0) + f64::from(before[i]).abs();
        let input = Bound::each(2.0, (0..len).map(magnitude).collect());
        // A product of the CPU passes at most 64 additions of f32, on a GPU 4 + 5 + 8 and, of sums, 5 + 8 again; then
        // one more.
        let terms: f64 = (0..len).filter(|&i| x[i] <= 0.0).map(|i| f64::from(dy[i] * x[i]).abs()).sum();
        let sum = Bound::absolute(68.0, terms + 0.75);
        let pass = |wanted| backward(wanted, write);
        let inputs = [given.clone(), a.clone(), Operand::In(dy.clone())];
        let with = |written: &[&Operand]| [&inputs[..], &written.iter().copied().cloned().collect::<Vec<_>>()].concat();
        let bounds = [input.clone(), sum.clone()];
        let both = check(&pass(Wanted::Both), &with(&[&dx, &dslope]), &bounds);
        let alone = check(&pass(Wanted::InputAlone), &with(&[&dx]), &[input]);
        let slopes = check(&pass(Wanted::SlopeAlone), &with(&[&dslope]), &[sum]);
        for (i, path) in paths().enumerate() {
            assert_bits("dx alone", &alone[i][3..], &both[i][3..4]);
            assert_bits("dslope alone", &slopes[i][3..], &both[i][4..]);
            if write == Write::Set {
                let operands = [given.clone(), a.clone(), Operand::InOut(dy.clone()), dslope.clone()];
                let got = path.run(&pass(Wanted::Inplace), &operands);
                assert_bits("dx in place of dy", &got[2..], &both[i][3..]);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    for len in lengths() {
        check_len(len, 0.25);
    }
    for slope in [-1.5, 0.0, 1.0, 3.0] {
        check_len(1009, slope);
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn any_length_equals_the_reference(len in 1usize..60_000, slope in -2.0f32..2.0) {
        check_len(len, slope);
    }
}

/// NaN goes through, also where a gradient is infinite; elements above 0 add nothing to the slope's gradient.
#[test]
fn what_is_no_number_stays_so() {
    let x = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, -0.0];
    let inputs = [Operand::In(x), Operand::In(vec![0.5])];
    let forward = check(&forward(false), &[&inputs[..], &[Operand::Out(5)]].concat(), &[Bound::relative(0.0)]);
    for result in forward {
        assert!(result[2][0].is_nan() && result[2][1..4] == [f64::INFINITY, f64::NEG_INFINITY, 2.0]);
    }
    let pass = backward(Wanted::SlopeAlone, Write::Set);
    for (x, want) in [([3.0, -2.0], -8.0), ([f32::INFINITY, 0.0], 0.0), ([f32::NAN, -2.0], f64::NAN)] {
        let operands = [Operand::In(x.to_vec()), Operand::In(vec![0.5]), Operand::In(vec![1.0, 4.0]), Operand::Out(1)];
        for result in check(&pass, &operands, &[Bound::relative(0.0)]) {
            assert!(result[3][0] == want || result[3][0].is_nan() && want.is_nan(), "{x:?}: {:?}", result[3]);
        }
    }
}

/// PyTorch 2.15's `prelu` with slope 0.25 at these x, and the gradients of `sum dy y` by autograd, in f64:
///
/// ```python
/// x = torch.tensor([-7., -3., -1., -.5, 0., .5, 1., 3., 6.], dtype=torch.float64, requires_grad=True)
/// a = torch.tensor([.25], dtype=torch.float64, requires_grad=True)
/// dy = torch.tensor([1., -2., .5, 3., 7., -1., 2., .25, 1.], dtype=torch.float64)
/// y = torch.nn.functional.prelu(x, a); y.backward(dy); print(y, x.grad, a.grad)
/// ```
#[test]
fn the_reference_is_pytorch() {
    const X: [f64; 9] = [-7.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0];
    const DY: [f64; 9] = [1.0, -2.0, 0.5, 3.0, 7.0, -1.0, 2.0, 0.25, 1.0];
    const Y: [f64; 9] = [-1.75, -0.75, -0.25, -0.125, 0.0, 0.5, 1.0, 3.0, 6.0];
    const DX: [f64; 9] = [0.25, -0.5, 0.125, 0.75, 1.75, -1.0, 2.0, 0.25, 1.0];
    assert_eq!(X.map(|x| reference::value(x, 0.25)), Y);
    assert_eq!(std::array::from_fn(|i| reference::grad_input(X[i], 0.25, DY[i])), DX);
    assert_eq!(reference::grad_slope(&X, &DY), -3.0);
}
