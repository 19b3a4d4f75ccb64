//! Every path against the reference.

use super::{Activation, Backward, Forward, Saved, reference};
use crate::testing::{Bound, Operand, Pass, assert_bits, check, lengths, normal, paths};
use crate::{Backend, Span, Write};

struct ForwardPass {
    f: Activation,
    inplace: bool,
}

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("{} forward", self.f)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let y = operands[if self.inplace { 0 } else { 1 }];
        backend.activation_forward(memory, self.f, Forward { x: operands[0], y });
    }
}

struct BackwardPass {
    f: Activation,
    write: Write,
    inplace: bool,
}

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("{} backward {:?}", self.f, self.write)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let (saved, dy) = (operands[0], operands[1]);
        let dx = if self.inplace { dy } else { operands[2] };
        backend.activation_backward(memory, self.f, Backward { saved, dy, dx, write: self.write });
    }
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
            let [separate, inplace] = [false, true].map(|inplace| ForwardPass { f, inplace });
            let results = check(&separate, &[Operand::In(x.clone()), Operand::Out(len)], &[Bound::absolute(8.0, 1.0)]);
            for (path, want) in paths().zip(results) {
                let got = path.run(&inplace, &[Operand::InOut(x.clone())]);
                assert_bits(&inplace.name(), &got, &want[1..]);
            }

            let saved: Vec<f32> = match f.saved() {
                Saved::Input => x,
                Saved::Output => x.iter().map(|&x| reference::value(f, f64::from(x)) as f32).collect(),
            };
            let dy = normal(2, len);
            let magnitude: Vec<f64> = dy.iter().map(|dy| f64::from(dy.abs())).collect();
            for write in [Write::Set, Write::Add] {
                let pass = BackwardPass { f, write, inplace: false };
                let dx = Operand::written(write, normal(3, len));
                let operands = [Operand::In(saved.clone()), Operand::In(dy.clone()), dx];
                let results = check(&pass, &operands, &[Bound::each(9.0, magnitude.clone())]);
                if write == Write::Set {
                    let inplace = BackwardPass { f, write, inplace: true };
                    for (path, want) in paths().zip(results) {
                        let got = path.run(&inplace, &[Operand::In(saved.clone()), Operand::InOut(dy.clone())]);
                        assert_bits(&inplace.name(), &got[1..], &want[2..]);
                    }
                }
            }
        }
    }
}
