//! Every path against the reference.

use super::{AdamWParams, Check, Step};
use crate::Span;
use crate::testing::{Bound, Operand, check, lengths, normal};

/// Operands: param, grad, m, v and, if it is there, the flag.
fn step(params: AdamWParams) -> impl Fn(&[Span]) -> Step {
    move |o| {
        let unless = o.get(4).copied().unwrap_or(Span::EMPTY);
        Step { params, param: o[0], grad: o[1], m: o[2], v: o[3], unless }
    }
}

const PARAMS: AdamWParams = AdamWParams { lr: 3e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1 };

#[test]
fn a_step_equals_the_reference() {
    for number in [1, 2, 1000, 1_000_000] {
        for weight_decay in [0.0, 0.01] {
            for len in lengths() {
                let p = AdamWParams { step: number, weight_decay, ..PARAMS };
                let (param, grad, m) = (normal(1, len), normal(2, len), normal(3, len));
                let v: Vec<f32> = normal(4, len).iter().map(|x| x * x).collect();
                let of = |x: &[f32]| x.iter().map(|x| f64::from(x.abs())).collect::<Vec<_>>();
                let sum = |a: &[f32], b: &[f32]| of(a).iter().zip(of(b)).map(|(a, b)| a + b).collect::<Vec<_>>();
                let squares: Vec<f32> = grad.iter().map(|g| g * g).collect();
                // The change of a parameter is off by a few roundings. Its size is at most lr (|m| + |g|) / sqrt(v') /
                // c1, with the `v'` after the step: much less than the parameter, unless that is tiny.
                let (c1, c2) = p.bias_corrections();
                let change = |i: usize| {
                    let (m, v) = (m[i].abs() + grad[i].abs(), 0.999 * v[i] + 0.001 * squares[i]);
                    f64::from(param[i].abs()) + p.lr / c1 * f64::from(m) / ((f64::from(v) / c2).sqrt() + p.eps)
                };
                let bounds = [
                    Bound::each(12.0, (0..len).map(change).collect()),
                    Bound::each(4.0, sum(&m, &grad)),
                    Bound::each(5.0, sum(&v, &squares)),
                ];
                let operands = [Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
                check(&step(p), &operands, &bounds);
            }
        }
    }
}

#[test]
fn a_flag_that_is_up_leaves_all_as_it_is() {
    for len in lengths() {
        let after = |flag: Option<f32>| {
            let [param, grad, m, v] = [1, 2, 3, 4].map(|seed| normal(seed, len));
            let v = v.iter().map(|x| x * x).collect();
            let mut operands = vec![Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
            operands.extend(flag.map(|flag| Operand::In(vec![flag])));
            let bound = || Bound::absolute(1e9, 1.0);
            let results = check(&step(PARAMS), &operands, &[bound(), bound(), bound()]);
            results.into_iter().map(|operands| [0, 2, 3].map(|i| operands[i].clone())).collect::<Vec<_>>()
        };
        let before = [1, 3, 4].map(|seed| normal(seed, len).iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for up in [1.0, f32::NAN] {
            for [param, m, v] in after(Some(up)) {
                assert_eq!([&param, &m], [&before[0], &before[1]]);
                assert!(v.iter().zip(&before[2]).all(|(v, x)| *v == f64::from((x * x) as f32)));
            }
        }
        assert_eq!(after(Some(0.0)), after(None), "one that is down");
    }
}

#[test]
fn a_settled_optimizer_state_stays() {
    // m = g and v = g^2 are a fixed point. With beta rounded to f32, v would move by 1e-5 of itself in the long run.
    let operands = [vec![0.0; 5], vec![0.5; 5], vec![0.5; 5], vec![0.25; 5]];
    let [param, grad, m, v] = operands;
    let operands = [Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
    let p = AdamWParams { step: 100_000, ..PARAMS };
    for result in check(&step(p), &operands, &[Bound::relative(8.0), Bound::relative(0.0), Bound::relative(0.0)]) {
        assert_eq!(result[2], [0.5; 5]);
        assert_eq!(result[3], [0.25; 5]);
    }
}

/// One weight, 0.5, after steps with these gradients; on every path, and as the reference has it.
fn after_steps(gradients: &[f32]) -> Vec<[f64; 3]> {
    let mut state = [0.5f32, 0.0, 0.0];
    let mut results = Vec::new();
    for (number, &gradient) in (1..).zip(gradients) {
        let p = AdamWParams { step: number, weight_decay: 0.0, ..PARAMS };
        let [param, m, v] = state.map(|x| Operand::InOut(vec![x]));
        let bounds = [Bound::absolute(4.0, 0.5), Bound::relative(6.0), Bound::relative(300.0)];
        results = check(&step(p), &[param, Operand::In(vec![gradient]), m, v], &bounds);
        state = [0, 2, 3].map(|operand| results[0][operand][0] as f32);
    }
    results.iter().map(|result| [0, 2, 3].map(|operand| result[operand][0])).collect()
}

/// The square of 1e20 is more than f32 holds, and 0.001 of it is not.
#[test]
fn a_moment_that_f32_holds_is_right_although_the_square_of_its_gradient_overflows() {
    for [param, m, v] in after_steps(&[1e20, 0.1, 0.1, 0.1]) {
        assert!((param - 0.5).abs() < 2e-3 && param.is_finite(), "{param}");
        assert!(m > 1e18 && v > 9e36 && v.is_finite(), "{m} {v}");
    }
}

/// As PyTorch: the second moment is infinite then, and the parameter stays.
#[test]
fn a_parameter_stays_where_the_second_moment_overflows() {
    let params = AdamWParams { weight_decay: 0.0, ..PARAMS };
    for sign in [1.0f32, -1.0] {
        for (m, v) in [(0.0, 0.0), (-3e38 * sign, f32::INFINITY)] {
            let operands = [0.5, 3e38 * sign, m, v].map(|x| vec![x]);
            let [param, grad, m, v] = operands;
            let operands = [Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
            for path in crate::testing::paths() {
                let result = path.run(&step(params), &operands);
                assert_eq!(result[0], [0.5]);
                assert!(result[2][0].is_finite() && result[3] == [f64::INFINITY], "{result:?}");
            }
        }
    }
}

fn check_step(params: AdamWParams) -> impl Fn(&[Span]) -> Check {
    move |o| Check { params, param: o[0], grad: o[1], m: o[2], v: o[3], flag: o[4] }
}

/// The `[param, grad, m, v]` of ordinary training, with `bad` at a place, and a flag that is down.
fn with_bad(len: usize, place: usize, bad: [f32; 4]) -> Vec<Operand> {
    let [param, grad, m, v] = [1, 2, 3, 4].map(|seed| normal(seed, len));
    let mut state = [param, grad, m, v.iter().map(|x| x * x).collect()];
    state.iter_mut().zip(bad).for_each(|(values, bad)| values[place] = bad);
    state.into_iter().map(Operand::In).chain([Operand::InOut(vec![0.0])]).collect()
}

#[test]
fn a_step_that_would_leave_a_value_that_is_not_finite_is_found_at_any_place() {
    // A gradient that is not finite, and moments and parameters that overflow in f64 too.
    let large = AdamWParams { lr: 1e308, ..PARAMS };
    let bad = [
        (PARAMS, [0.0, f32::INFINITY, 0.0, 0.0]),
        (PARAMS, [0.0, f32::NAN, 0.0, 1.0]),
        (PARAMS, [f32::INFINITY, 1.0, 0.0, 1.0]),
        (large, [1.0, 3e38, 3e38, 0.0]),
    ];
    let places = lengths().filter(|len| *len > 0).flat_map(|len| [0, len / 2, len - 1].map(|place| (len, place)));
    for (i, (len, place)) in places.enumerate() {
        for (params, bad, flag) in
            [(bad[i % 4].0, bad[i % 4].1, 1.0), (PARAMS, [0.5, 1e19, 1e19, 1e38], 0.0), (PARAMS, [0.0; 4], 0.0)]
        {
            for result in check(&check_step(params), &with_bad(len, place, bad), &[Bound::relative(0.0)]) {
                assert_eq!(result[4], [flag], "element {place} of {len}: {bad:?}");
            }
        }
    }
    let mut raised = with_bad(1, 0, [0.0; 4]);
    raised[4] = Operand::InOut(vec![1.0]);
    check(&check_step(PARAMS), &raised, &[Bound::relative(0.0)]);
}

#[test]
fn a_moment_or_parameter_that_f32_does_not_hold_is_found() {
    let fast = AdamWParams { lr: 1e38, ..PARAMS };
    for (params, bad) in [(PARAMS, [1.0, 3e38, 0.0, 1.0]), (fast, [-3e38, 1.0, 0.0, 0.0]), (fast, [0.0, 1.0, 1.0, 0.0])]
    {
        for path in crate::testing::paths() {
            assert_eq!(path.run(&check_step(params), &with_bad(3, 1, bad))[4], [1.0], "{bad:?}");
        }
    }
}
