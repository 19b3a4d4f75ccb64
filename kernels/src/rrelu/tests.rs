//! Every path against the reference, and the distribution of the slopes.

use super::{BLOCK, Backward, Forward, MEAN, Slopes, reference};
use crate::random::Key;
use crate::testing::{Bound, Operand, Pass, assert_bits, cases, check, is_tested, lengths, normal, paths, run};
use crate::{Backend, Reference, Span, Write};
use proptest::prelude::*;

/// Operands: x and, unless it is in place, y.
struct ForwardPass {
    slopes: Slopes,
    inplace: bool,
}

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("rrelu forward, {:?}", self.slopes)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let y = operands[if self.inplace { 0 } else { 1 }];
        backend.rrelu_forward(memory, self.slopes, Forward { x: operands[0], y });
    }
}

/// Operands: x, dy and, unless it is in place, dx.
struct BackwardPass {
    slopes: Slopes,
    write: Write,
    inplace: bool,
}

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("rrelu backward, {:?}, {:?}", self.slopes, self.write)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let (x, dy) = (operands[0], operands[1]);
        let dx = if self.inplace { dy } else { operands[2] };
        backend.rrelu_backward(memory, self.slopes, Backward { x, dy, dx, write: self.write });
    }
}

/// A product is the nearest to that of the reference, whose slope is the same number, but for the mean, which is rounded.
fn roundings(slopes: Slopes) -> f64 {
    if slopes == Slopes::Mean { 2.0 } else { 1.0 }
}

fn check_len(len: usize, slopes: Slopes) {
    if !is_tested(len) {
        return;
    }
    let (x, dy) = (normal(1, len), normal(2, len));
    let [separate, inplace] = [false, true].map(|inplace| ForwardPass { slopes, inplace });
    let operands = [Operand::In(x.clone()), Operand::Out(len)];
    let results = check(&separate, &operands, &[Bound::relative(roundings(slopes))]);
    for (path, want) in paths().zip(&results) {
        let got = path.run(&inplace, &[Operand::InOut(x.clone())]);
        assert_bits("rrelu forward in place", &got, &want[1..]);
        assert_bits("rrelu forward on another path", want, &results[0]);
    }
    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let magnitudes = (0..len).map(|i| f64::from(dy[i].abs()) + f64::from(before[i].abs())).collect();
        let operands = [Operand::In(x.clone()), Operand::In(dy.clone()), Operand::written(write, before)];
        let pass = BackwardPass { slopes, write, inplace: false };
        let results = check(&pass, &operands, &[Bound::each(1.0 + roundings(slopes), magnitudes)]);
        if write == Write::Set {
            let inplace = BackwardPass { slopes, write, inplace: true };
            for (path, want) in paths().zip(&results) {
                let got = path.run(&inplace, &[Operand::In(x.clone()), Operand::InOut(dy.clone())]);
                assert_bits("rrelu backward in place", &got[1..], &want[2..]);
                assert_bits("rrelu backward on another path", want, &results[0]);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    let random = |seed, first| Slopes::Random { key: Key::new(seed), first };
    for slopes in [random(0, 0), random(u64::MAX - 7, 0), random(0, 1), random(1, 4 * 128 + 100), Slopes::Mean] {
        for len in lengths() {
            check_len(len, slopes);
        }
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn any_length_and_key_equal_the_reference(len in 1usize..60_000, seed: u64, first in 0u64..100_000) {
        check_len(len, Slopes::Random { key: Key::new(seed), first });
    }
}

/// The slopes, by which the reference multiplies -1.
fn drawn(key: Key, first: u64, len: usize) -> Vec<f64> {
    let operands = [Operand::In(vec![-1.0; len]), Operand::Out(len)];
    let pass = ForwardPass { slopes: Slopes::Random { key, first }, inplace: false };
    run(&Reference, &pass, &operands)[1].iter().map(|y| -y).collect()
}

#[test]
fn slopes_are_uniform_from_an_eighth_to_a_third() {
    const BINS: usize = 50;
    let (low, high) = (1.0 / 8.0, 1.0 / 3.0);
    let n = 200_000;
    let slopes = drawn(Key::new(3), 0, n);
    assert!(slopes.iter().all(|slope| (low..high).contains(slope)));
    let mean = slopes.iter().sum::<f64>() / n as f64;
    let deviation = (high - low) / 12f64.sqrt();
    assert!((mean - MEAN).abs() < 4.0 * deviation / (n as f64).sqrt(), "mean {mean}");
    let mut counts = [0.0; BINS];
    slopes.iter().for_each(|slope| counts[((slope - low) / (high - low) * BINS as f64) as usize] += 1.0);
    let expected = n as f64 / BINS as f64;
    let chi_squared: f64 = counts.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
    // 49 degrees of freedom: 85.4 is exceeded once in a thousand
    assert!(chi_squared < 85.4, "{chi_squared}: {counts:?}");
}

/// Neighbours, elements that share a call of the generator, and the same elements of other steps and nodes.
#[test]
fn slopes_do_not_depend_on_each_other() {
    let n = 100_000;
    let step = |step: u64, node: u64| drawn(Key::new(5).fold_in(step).fold_in(node), 0, n);
    let here = step(0, 0);
    let shifted = |by: usize| here.iter().copied().cycle().skip(by).take(n).collect::<Vec<f64>>();
    let others = [shifted(1), shifted(64), shifted(128), step(1, 0), step(0, 1), step(1 << 32, 0)];
    let deviation = (5.0 / 24.0) / 12f64.sqrt();
    for (i, other) in others.iter().enumerate() {
        let products = here.iter().zip(other).map(|(a, b)| (a - MEAN) * (b - MEAN)).sum::<f64>();
        let correlation = products / n as f64 / deviation.powi(2);
        assert!(correlation.abs() < 4.0 / (n as f64).sqrt(), "{i}: {correlation}");
        assert!(here.iter().zip(other).filter(|(a, b)| a == b).count() < 10, "{i}");
    }
    assert_eq!(here, step(0, 0));
}

#[test]
fn a_part_of_a_batch_has_its_slopes() {
    let whole = drawn(Key::new(9), 0, 3000);
    for first in [1, 63, 64, 127, 128, 1000, 2999] {
        assert_eq!(drawn(Key::new(9), first as u64, 3000 - first), whole[first..], "{first}");
    }
    // far beyond what a GPU takes
    for block in [0, 1 << 25, 1 << 26, 1 << 40] {
        let slopes = Slopes::Random { key: Key::new(2), first: block * BLOCK as u64 };
        let mut of_block = [0.0; BLOCK];
        slopes.of_block(block, &mut of_block);
        assert!((0..BLOCK).all(|i| f64::from(of_block[i]) == reference::slope(slopes, i)), "{block}");
    }
}

/// PyTorch 2.15 in evaluation mode, and the gradients of `sum dy y` by autograd, in f64; in training it draws numbers of its own:
///
/// ```python
/// x = torch.tensor([-7., -3., -1., -.5, 0., .5, 1., 3., 6.], dtype=torch.float64, requires_grad=True)
/// dy = torch.tensor([1., -2., .5, 3., 7., -1., 2., .25, 1.], dtype=torch.float64)
/// y = torch.nn.RReLU().eval()(x); y.backward(dy); print(y, x.grad)
/// ```
#[test]
fn the_mean_is_pytorchs() {
    const X: [f64; 9] = [-7.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0];
    const DY: [f64; 9] = [1.0, -2.0, 0.5, 3.0, 7.0, -1.0, 2.0, 0.25, 1.0];
    const Y: [f64; 9] = [-1.604_167, -0.6875, -0.229_167, -0.114_583, 0.0, 0.5, 1.0, 3.0, 6.0];
    const DX: [f64; 9] = [0.229_167, -0.458_333, 0.114_583, 0.6875, 1.604_167, -1.0, 2.0, 0.25, 1.0];
    for i in 0..9 {
        let slope = reference::slope(Slopes::Mean, i);
        let (y, dx) =
            (crate::prelu::reference::value(X[i], slope), crate::prelu::reference::grad_input(X[i], slope, DY[i]));
        assert!((y - Y[i]).abs() < 1e-5 && (dx - DX[i]).abs() < 1e-5, "{i}: {y} and {dx}");
    }
}
