//! Every path against the reference.

use super::{Backward, Forward, Loss};
use crate::testing::{Bound, Operand, Pass, cases, check, is_tested, lengths, normal};
use crate::{Backend, Span, Write};
use proptest::prelude::*;

struct ForwardPass(Loss, usize);

impl Pass for ForwardPass {
    fn name(&self) -> String {
        format!("{} forward of {}", self.0, self.1)
    }

    fn workspace_bytes<B: Backend>(&self, backend: &B) -> usize {
        backend.loss_forward_workspace_bytes(self.1)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], workspace: Span) {
        let (prediction, target, loss) = (operands[0], operands[1], operands[2]);
        backend.loss_forward(memory, self.0, Forward { prediction, target, loss, workspace });
    }
}

struct BackwardPass(Loss, Write);

impl Pass for BackwardPass {
    fn name(&self) -> String {
        format!("{} backward {:?}", self.0, self.1)
    }

    fn run<B: Backend>(&self, backend: &B, memory: &mut B::Memory, operands: &[Span], _: Span) {
        let [prediction, target, dloss, dprediction] = [0, 1, 2, 3].map(|i| operands[i]);
        let operands = Backward { prediction, target, dloss, dprediction, write: self.1 };
        backend.loss_backward(memory, self.0, operands);
    }
}

fn check_len(loss: Loss, len: usize) {
    if !is_tested(len) {
        return;
    }
    let (prediction, target) = (normal(1, len), normal(2, len));
    let inputs = [Operand::In(prediction.clone()), Operand::In(target.clone())];
    // A term is rounded twice, then passes 32 additions in its lane, 2 of accumulators and at most 4 of lanes; all are
    // positive. The rest is f64.
    let operands = [&inputs[..], &[Operand::Out(1)]].concat();
    check(&ForwardPass(loss, len), &operands, &[Bound::relative(41.0)]);

    for write in [Write::Set, Write::Add] {
        let before = normal(3, len);
        let scale = 2.5 / len as f64;
        let magnitudes = (0..len).map(|i| {
            let slope = scale * 2.0 * f64::from(prediction[i] - target[i]);
            slope.abs() + if write == Write::Add { f64::from(before[i].abs()) } else { 0.0 }
        });
        let bound = Bound::each(4.0, magnitudes.collect());
        let others = [Operand::In(vec![2.5]), Operand::written(write, before)];
        check(&BackwardPass(loss, write), &[&inputs[..], &others].concat(), &[bound]);
    }
}

#[test]
fn passes_equal_the_reference() {
    for loss in [Loss::L1, Loss::Mse] {
        for len in lengths() {
            check_len(loss, len);
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn any_length_equals_the_reference(len in 1usize..60_000) {
        check_len(Loss::L1, len);
        check_len(Loss::Mse, len);
    }
}

#[test]
fn the_slope_of_l1_is_0_where_prediction_and_target_are_equal() {
    let inputs = [vec![1.0, 2.0, 3.0, f32::NAN], vec![1.0, 3.0, 2.0, 0.0]].map(Operand::In);
    let others = [Operand::In(vec![4.0]), Operand::Out(4)];
    for result in check(&BackwardPass(Loss::L1, Write::Set), &[inputs, others].concat(), &[Bound::relative(0.0)]) {
        assert_eq!(result[3][..3], [0.0, -1.0, 1.0]);
    }
}
