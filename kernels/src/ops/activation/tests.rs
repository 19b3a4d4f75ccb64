//! Every path against the reference.

use super::{Activation, Backward, Forward, Saved, reference};
use crate::testing::{Bound, Operand, assert_bits, check, lengths, normal, paths};
use crate::{Span, Write};

/// Operands: x and, unless it is in place, y.
fn forward(activation: Activation, inplace: bool) -> impl Fn(&[Span]) -> Forward {
    move |o| Forward { activation, x: o[0], y: o[if inplace { 0 } else { 1 }] }
}

/// Operands: what was saved, dy and, unless it is in place, dx.
fn backward(activation: Activation, write: Write, inplace: bool) -> impl Fn(&[Span]) -> Backward {
    move |o| Backward { activation, saved: o[0], dy: o[1], dx: o[if inplace { 1 } else { 2 }], write }
}

/// Inputs around 0, where activations bend.
fn inputs(seed: u64, len: usize) -> Vec<f32> {
    normal(seed, len).into_iter().map(|x| 3.0 * x).collect()
}

#[test]
fn passes_equal_the_reference() {
    for f in Activation::ALL {
        for len in lengths() {
            let x = inputs(1, len);
            let operands = [Operand::In(x.clone()), Operand::Out(len)];
            let results = check(&forward(f, false), &operands, &[Bound::absolute(8.0, 1.0)]);
            for (path, want) in paths().zip(results) {
                let got = path.run(&forward(f, true), &[Operand::InOut(x.clone())]);
                assert_bits(&format!("{f} forward in place"), &got, &want[1..]);
            }

            let saved: Vec<f32> = match f.saved() {
                Saved::Input => x,
                Saved::Output => x.iter().map(|&x| reference::value(f, f64::from(x)) as f32).collect(),
            };
            let dy = normal(2, len);
            let magnitude: Vec<f64> = dy.iter().map(|dy| f64::from(dy.abs())).collect();
            for write in [Write::Set, Write::Add] {
                let dx = Operand::written(write, normal(3, len));
                let operands = [Operand::In(saved.clone()), Operand::In(dy.clone()), dx];
                let results = check(&backward(f, write, false), &operands, &[Bound::each(9.0, magnitude.clone())]);
                if write == Write::Set {
                    for (path, want) in paths().zip(results) {
                        let operands = [Operand::In(saved.clone()), Operand::InOut(dy.clone())];
                        let got = path.run(&backward(f, write, true), &operands);
                        assert_bits(&format!("{f} backward in place"), &got[1..], &want[2..]);
                    }
                }
            }
        }
    }
}
