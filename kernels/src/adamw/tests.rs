//! Every path against the reference.

use super::{AdamWParams, Step};
use crate::testing::{Bound, Operand, Pass, check, lengths, normal};
use crate::{Backend, Span};

impl Pass for AdamWParams {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let [param, grad, m, v] = [0, 1, 2, 3].map(|i| operands[i]);
        let unless = operands.get(4).copied().unwrap_or(Span::EMPTY);
        backend.adamw(memory, self, Step { param, grad, m, v, unless });
    }
}

const PARAMS: AdamWParams = AdamWParams { lr: 3e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1 };

#[test]
fn a_step_equals_the_reference() {
    for step in [1, 2, 1000, 1_000_000] {
        for weight_decay in [0.0, 0.01] {
            for len in lengths() {
                let p = AdamWParams { step, weight_decay, ..PARAMS };
                let (param, grad, m) = (normal(1, len), normal(2, len), normal(3, len));
                let v: Vec<f32> = normal(4, len).iter().map(|x| x * x).collect();
                let of = |x: &[f32]| x.iter().map(|x| f64::from(x.abs())).collect::<Vec<_>>();
                let sum = |a: &[f32], b: &[f32]| of(a).iter().zip(of(b)).map(|(a, b)| a + b).collect::<Vec<_>>();
                let squares: Vec<f32> = grad.iter().map(|g| g * g).collect();
                // The change of a parameter is a few roundings off, of a size that its moments before give: the step is at
                // most lr (|m| + |g|) / sqrt(v') / c1, much less than the parameter but for tiny v.
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
                check(&p, &operands, &bounds);
            }
        }
    }
}

#[test]
fn a_flag_that_is_up_leaves_all_as_it_is() {
    for len in lengths() {
        let step = |flag: Option<f32>| {
            let [param, grad, m, v] = [1, 2, 3, 4].map(|seed| normal(seed, len));
            let v = v.iter().map(|x| x * x).collect();
            let mut operands = vec![Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
            operands.extend(flag.map(|flag| Operand::In(vec![flag])));
            let bound = || Bound::absolute(1e9, 1.0);
            let results = check(&PARAMS, &operands, &[bound(), bound(), bound()]);
            results.into_iter().map(|operands| [0, 2, 3].map(|i| operands[i].clone())).collect::<Vec<_>>()
        };
        let before = [1, 3, 4].map(|seed| normal(seed, len).iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for up in [1.0, f32::NAN] {
            for [param, m, v] in step(Some(up)) {
                assert_eq!([&param, &m], [&before[0], &before[1]]);
                assert!(v.iter().zip(&before[2]).all(|(v, x)| *v == f64::from((x * x) as f32)));
            }
        }
        assert_eq!(step(Some(0.0)), step(None), "one that is down");
    }
}

#[test]
fn settled_moments_stay() {
    // m = g and v = g^2 are a fixed point; beta rounded to f32 would move v by 1e-5 of itself in the long run
    let operands = [vec![0.0; 5], vec![0.5; 5], vec![0.5; 5], vec![0.25; 5]];
    let [param, grad, m, v] = operands;
    let operands = [Operand::InOut(param), Operand::In(grad), Operand::InOut(m), Operand::InOut(v)];
    let p = AdamWParams { step: 100_000, ..PARAMS };
    for result in check(&p, &operands, &[Bound::relative(8.0), Bound::relative(0.0), Bound::relative(0.0)]) {
        assert_eq!(result[2], [0.5; 5]);
        assert_eq!(result[3], [0.25; 5]);
    }
}
