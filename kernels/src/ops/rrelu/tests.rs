//! Every path against the reference, and the distribution of the slopes.

use super::slopes::{MEAN, Slopes, slope_of};
use super::{Backward, Forward, reference};
use crate::ops::prelu;
use crate::random::{Draws, ElementWords, Key};
use crate::testing::{Bound, Operand, assert_bits, cases, check, is_tested, lengths, normal, paths};
use crate::{Backend, Context, Reference, Region, Span, Write};
use proptest::prelude::*;

/// Operands: x and, unless it is in place, y.
fn forward(draws: Option<Draws>, inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { draws, x: o[0], y: o[if inplace { 0 } else { 1 }] }
}

/// Operands: x, dy and, unless it is in place, dx.
fn backward(draws: Option<Draws>, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { draws, x: o[0], dy: o[1], dx: o[if inplace { 1 } else { 2 }], write }
}

/// Roundings of a product: one, as the slope is exactly that of the reference. The mean is rounded, too.
fn roundings(draws: Option<Draws>) -> f64 {
    if draws.is_none() { 2.0 } else { 1.0 }
}

fn check_len(len: usize, draws: Option<Draws>) {
    if !is_tested(len) {
        return;
    }
    let (x, dy) = (normal(1, len), normal(2, len));
    let operands = [Operand::In(x.clone()), Operand::Out(len)];
    let results = check(&forward(draws, false), &operands, &[Bound::relative(roundings(draws))]);
    for (path, want) in paths().zip(&results) {
        let got = path.run(&forward(draws, true), &[Operand::InOut(x.clone())]);
        assert_bits("rrelu forward in place", &got, &want[1..]);
        assert_bits("rrelu forward on another path", want, &results[0]);
    }
    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let magnitudes = (0..len).map(|i| f64::from(dy[i].abs()) + f64::from(before[i].abs())).collect();
        let operands = [Operand::In(x.clone()), Operand::In(dy.clone()), Operand::written(write, before)];
        let bound = Bound::each(1.0 + roundings(draws), magnitudes);
        let results = check(&backward(draws, write, false), &operands, &[bound]);
        if write == Write::Set {
            for (path, want) in paths().zip(&results) {
                let operands = [Operand::In(x.clone()), Operand::InOut(dy.clone())];
                let got = path.run(&backward(draws, write, true), &operands);
                assert_bits("rrelu backward in place", &got[1..], &want[2..]);
                assert_bits("rrelu backward on another path", want, &results[0]);
            }
        }
    }
}

#[test]
fn passes_equal_the_reference() {
    let draws = |stream, first| Some(Draws { stream, first });
    for draws in [draws(0, 0), draws(u64::MAX - 7, 0), draws(0, 1), draws(1, 4 * 128 + 100), None] {
        for len in lengths() {
            check_len(len, draws);
        }
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn any_length_and_stream_equal_the_reference(len in 1usize..60_000, stream: u64, first in 0u64..100_000) {
        check_len(len, Some(Draws { stream, first }));
    }
}

/// The slopes in a step that has this key, by which the reference multiplies -1.
fn drawn(key: Key, draws: Draws, len: usize) -> Vec<f64> {
    let [x, y] = [0, 1].map(|region| Span::new(Region(region), 0, len));
    let mut memory = Reference.allocate(&[len, len]).unwrap();
    Reference.fill(&mut memory, x, -1.0);
    let call = Forward { draws: Some(draws), x, y }.into();
    Reference.run(&mut memory, &call, Context { key, ..Context::NONE });
    memory.get(y).iter().map(|y| -y).collect()
}

#[test]
fn slopes_are_uniform_from_an_eighth_to_a_third() {
    const BINS: usize = 50;
    let (low, high) = (1.0 / 8.0, 1.0 / 3.0);
    let n = 200_000;
    let slopes = drawn(Key::new(3), Draws { stream: 0, first: 0 }, n);
    assert!(slopes.iter().all(|slope| (low..high).contains(slope)));
    let mean = slopes.iter().sum::<f64>() / n as f64;
    let deviation = (high - low) / 12f64.sqrt();
    assert!((mean - MEAN).abs() < 4.0 * deviation / (n as f64).sqrt(), "mean {mean}");
    let mut counts = [0.0; BINS];
    slopes.iter().for_each(|slope| counts[((slope - low) / (high - low) * BINS as f64) as usize] += 1.0);
    let expected = n as f64 / BINS as f64;
    let chi_squared: f64 = counts.iter().map(|count: &f64| (count - expected).powi(2) / expected).sum();
    // With 49 degrees of freedom, 85.4 is exceeded once in a thousand.
    assert!(chi_squared < 85.4, "{chi_squared}: {counts:?}");
}

/// Neighbours, elements that share a call of the generator, and the same elements of other steps and streams.
#[test]
fn slopes_do_not_depend_on_each_other() {
    let n = 100_000;
    let step = |step: u64, stream: u64| drawn(Key::new(5).fold_in(step), Draws { stream, first: 0 }, n);
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

/// What a pass draws is of the stream's key, and the passes of both directions draw the same.
#[test]
fn slopes_are_those_of_the_key_of_the_stream() {
    let (key, draws) = (Key::new(7), Draws { stream: 3, first: 5 });
    let slopes = Slopes::new(Some(draws), key);
    assert_eq!(slopes, Slopes::Random(ElementWords { key: key.fold_in(3), first: 5 }));
    assert_eq!(Slopes::new(None, key), Slopes::Mean);
    let forward = drawn(key, draws, 300);
    assert!((0..300).all(|i| forward[i] == reference::slope(slopes, i)));
    let [x, dy, dx] = [0, 1, 2].map(|region| Span::new(Region(region), 0, 300));
    let mut memory = Reference.allocate(&[300; 3]).unwrap();
    Reference.fill(&mut memory, x, -1.0);
    Reference.fill(&mut memory, dy, 1.0);
    let call = Backward { draws: Some(draws), x, dy, dx, write: Write::Set }.into();
    Reference.run(&mut memory, &call, Context { key, ..Context::NONE });
    assert_eq!(memory.get(dx), forward);
}

#[test]
fn the_rest_of_a_batch_has_its_slopes() {
    let whole = drawn(Key::new(9), Draws { stream: 0, first: 0 }, 3000);
    for first in [1, 63, 64, 127, 128, 1000, 2999] {
        let draws = Draws { stream: 0, first: first as u64 };
        assert_eq!(drawn(Key::new(9), draws, 3000 - first), whole[first..], "{first}");
    }
}

/// At both ends of the range, and where the product has a rest.
#[test]
fn the_slope_of_a_word_is_the_equation() {
    for word in [0, 1, 1228, 1229, 1 << 31, u32::MAX - 1229, u32::MAX] {
        let want = (2f64.powi(21) + (3_495_254.0 * f64::from(word) / 2f64.powi(32)).floor()) / 2f64.powi(24);
        assert_eq!(f64::from(slope_of(word)), want, "{word}");
    }
}

/// PyTorch 2.15 in evaluation mode, and the gradients of `sum dy y` by autograd, in f64. In training it draws numbers
/// of its own.
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
        let (y, dx) = (prelu::reference::value(X[i], slope), prelu::reference::grad_input(X[i], slope, DY[i]));
        assert!((y - Y[i]).abs() < 1e-5 && (dx - DX[i]).abs() < 1e-5, "{i}: {y} and {dx}");
    }
}
