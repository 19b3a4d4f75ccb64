//! Every path against the reference.

use super::{Check, SgdParams, Step};
use crate::testing::{Bound, Operand, check, lengths, normal, paths, run};
use crate::{Reference, Span};

/// Operands: param, grad, buffer and, if it is there, the flag.
fn step(params: SgdParams) -> impl Fn(&[Span]) -> Step {
    move |o| {
        let unless = o.get(3).copied().unwrap_or(Span::EMPTY);
        Step { params, param: o[0], grad: o[1], buffer: o[2], unless }
    }
}

/// Operands: param, grad, buffer and the flag.
fn check_step(params: SgdParams) -> impl Fn(&[Span]) -> Check {
    move |o| Check { params, param: o[0], grad: o[1], buffer: o[2], flag: o[3] }
}

const PLAIN: SgdParams = SgdParams { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0 };
const MOMENTUM: SgdParams = SgdParams { momentum: 0.9, ..PLAIN };
const NESTEROV: SgdParams = SgdParams { nesterov: true, ..MOMENTUM };

fn all_params() -> impl Iterator<Item = SgdParams> {
    let with_decay = |params| [0.0, 5e-2].map(|weight_decay| SgdParams { weight_decay, ..params });
    [PLAIN, MOMENTUM, NESTEROV].into_iter().flat_map(with_decay)
}

#[test]
fn a_step_equals_the_reference() {
    for params in all_params() {
        for len in lengths() {
            let [param, grad, buffer] = [1, 2, 3].map(|seed| normal(seed, len));
            // Every value is a sum of products with a few coefficients that are rounded, too.
            let size = |i: usize| {
                let [param, grad, buffer] = [&param, &grad, &buffer].map(|values| f64::from(values[i].abs()));
                let grad = grad + params.weight_decay * param;
                [param + params.lr * (1.0 + params.momentum) * (grad + params.momentum * buffer), grad + buffer]
            };
            let bound = |of: usize| Bound::each(10.0, (0..len).map(|i| size(i)[of]).collect());
            let bounds = [bound(0), bound(1)];
            let operands = [param.clone(), buffer.clone()].map(Operand::InOut);
            let [param, buffer] = operands;
            let operands = [param.clone(), Operand::In(grad.clone()), buffer];
            check(&step(params), &operands, &bounds);
            if params.momentum == 0.0 {
                let without =
                    |o: &[Span]| Step { params, param: o[0], grad: o[1], buffer: Span::EMPTY, unless: Span::EMPTY };
                check(&without, &[param, Operand::In(grad)], &bounds[..1]);
            }
        }
    }
}

/// Three steps of `torch.optim.SGD` with learning rate 0.125, in f64: the parameter and the momentum buffer after them.
#[test]
fn the_reference_is_pytorch() {
    let gradients = [[1.0, -0.5, 0.25], [0.3, 0.7, -1.1], [-2.0, 0.0, 0.6]];
    let buffer_after = [-0.9199999999999999, 0.22499999999999995, -0.1875000000000001];
    for ((momentum, nesterov, weight_decay), param_after, buffer_after) in [
        ((0.0, false, 0.0), [0.5875, -1.275, 2.03125], None),
        ((0.0, false, 0.1), [0.5725576171875, -1.22916748046875, 1.9562412109375003], None),
        ((0.9, false, 0.0), [0.33999999999999997, -1.246875, 2.1015625], Some(buffer_after)),
        ((0.9, true, 0.0), [0.4435, -1.2721875000000002, 2.1226562500000004], Some(buffer_after)),
        (
            (0.5, true, 0.25),
            [0.5212650299072266, -1.0986642837524414, 1.7590171813964843],
            Some([-1.4865905761718752, -0.27834777832031254, 0.95867919921875]),
        ),
    ] {
        let params = SgdParams { lr: 0.125, momentum, nesterov, weight_decay };
        let (mut param, mut buffer) = ([0.5, -1.25, 2.0], [0.0; 3]);
        for grad in gradients {
            super::reference::step(&params, &mut param, &grad, &mut buffer);
        }
        let close = |got: [f64; 3], want: [f64; 3]| (0..3).all(|i| (got[i] - want[i]).abs() < 1e-15);
        assert!(close(param, param_after), "{params:?}: {param:?}");
        assert!(buffer_after.is_none_or(|want| close(buffer, want)), "{params:?}: {buffer:?}");
    }
}

#[test]
fn the_first_buffer_is_the_gradient() {
    let operands = [Operand::InOut(vec![1.0; 9]), Operand::In(vec![0.3; 9]), Operand::InOut(vec![0.0; 9])];
    for result in check(&step(NESTEROV), &operands, &[Bound::relative(4.0), Bound::relative(0.0)]) {
        assert_eq!(result[2], [f64::from(0.3f32); 9]);
    }
}

#[test]
fn a_flag_that_is_up_leaves_all_as_it_is() {
    for len in lengths() {
        let operands = |flag: Option<f32>| {
            let [param, grad, buffer] = [1, 2, 3].map(|seed| normal(seed, len));
            let mut operands = vec![Operand::InOut(param), Operand::In(grad), Operand::InOut(buffer)];
            operands.extend(flag.map(|flag| Operand::In(vec![flag])));
            operands
        };
        let before: Vec<Vec<f64>> = [1, 3].map(|seed| normal(seed, len).iter().map(|&x| f64::from(x)).collect()).into();
        for path in paths() {
            let after = |flag| {
                let result = path.run(&step(MOMENTUM), &operands(flag));
                vec![result[0].clone(), result[2].clone()]
            };
            assert!([1.0, f32::NAN].into_iter().all(|up| after(Some(up)) == before));
            assert_eq!(after(Some(0.0)), after(None), "one that is down");
        }
    }
}

/// `[param, grad, buffer]`, and constants with which a value on the way to a finite result is more than f32 holds.
const OVERFLOWS: [(SgdParams, [f32; 3]); 5] = [
    // The decay
    (SgdParams { lr: 1e-3, weight_decay: 1e5, ..PLAIN }, [1e35, -3e38, 0.0]),
    // The decayed gradient, which a decayed buffer reduces
    (SgdParams { weight_decay: 1.0, ..MOMENTUM }, [3e38, 3e38, -3e38]),
    // The gradient and the decayed buffer
    (NESTEROV, [1.0, 2e38, 1e38]),
    (NESTEROV, [-1e38, -2e38, -1e38]),
    // The change
    (SgdParams { lr: 1.9, momentum: 0.0, nesterov: false, weight_decay: 0.0 }, [3e38, 3e38, 0.0]),
];

#[test]
fn what_overflows_on_the_way_to_a_finite_result_does_no_harm() {
    for (params, values) in OVERFLOWS {
        let [param, grad, buffer] = values.map(|x| vec![x; 3]);
        let operands = [Operand::InOut(param), Operand::In(grad), Operand::InOut(buffer)];
        let bounds = [Bound::absolute(16.0, 6e38), Bound::absolute(16.0, 6e38)];
        let results = match params.momentum == 0.0 {
            true => {
                let without =
                    |o: &[Span]| Step { params, param: o[0], grad: o[1], buffer: Span::EMPTY, unless: Span::EMPTY };
                check(&without, &operands[..2], &bounds[..1])
            }
            false => check(&step(params), &operands, &bounds),
        };
        assert!(results.iter().flatten().flatten().all(|x| x.is_finite()), "{params:?}, {values:?}: {results:?}");
        assert_flag(params, 3, 1, values, 0.0);
    }
}

/// Asserts what [`Check`] makes of `len` operands of ordinary training with `values` at a place.
fn assert_flag(params: SgdParams, len: usize, place: usize, values: [f32; 3], flag: f64) {
    let mut operands = [1, 2, 3].map(|seed| normal(seed, len));
    operands.iter_mut().zip(values).for_each(|(operand, value)| operand[place] = value);
    let operands = operands.map(Operand::In);
    for path in paths() {
        let after = match params.momentum == 0.0 {
            true => {
                let make = |o: &[Span]| Check { params, param: o[0], grad: o[1], buffer: Span::EMPTY, flag: o[2] };
                path.run(&make, &[&operands[..2], &[Operand::InOut(vec![0.0])]].concat())[2][0]
            }
            false => path.run(&check_step(params), &[&operands[..], &[Operand::InOut(vec![0.0])]].concat())[3][0],
        };
        assert_eq!(after, flag, "element {place} of {len}: {params:?} {values:?}");
    }
}

#[test]
fn a_step_that_would_leave_a_value_that_is_not_finite_is_found_at_any_place() {
    let bad = [
        (PLAIN, [0.0, f32::INFINITY, 0.0]),
        (MOMENTUM, [0.0, f32::NAN, 0.0]),
        (NESTEROV, [0.0, 0.0, f32::NEG_INFINITY]),
        (PLAIN, [f32::NAN, 0.0, 0.0]),
        // More than f32 holds: a parameter, a buffer
        (SgdParams { lr: 1e38, ..PLAIN }, [0.0, 10.0, 0.0]),
        (SgdParams { lr: 0.0, ..MOMENTUM }, [0.0, 2e38, 3e38]),
    ];
    let places = lengths().filter(|len| *len > 0).flat_map(|len| [0, len / 2, len - 1].map(|place| (len, place)));
    for (i, (len, place)) in places.enumerate() {
        let (params, values) = bad[i % bad.len()];
        assert_flag(params, len, place, values, 1.0);
        assert_flag(NESTEROV, len, place, [1.0, 1e19, -1e19], 0.0);
    }
    for (params, values) in bad {
        assert_flag(params, 3, 1, values, 1.0);
    }
    let raised = [1, 2, 3].map(|seed| Operand::In(normal(seed, 5))).into_iter().chain([Operand::InOut(vec![1.0])]);
    let raised: Vec<Operand> = raised.collect();
    assert_eq!(run(&Reference, &check_step(MOMENTUM), &raised)[3], [1.0]);
    assert!(paths().all(|path| path.run(&check_step(MOMENTUM), &raised)[3] == [1.0]));
}
