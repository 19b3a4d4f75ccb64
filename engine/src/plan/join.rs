//! Passes that are computed as one: an activation and the batch normalization before it.
//!
//! Operations emit their passes one by one. Here neighbours become one pass where nothing else reads what passes
//! between them ([`PlanOptions::fuse`](super::PlanOptions::fuse)), so that a CPU need not go to memory in between:
//!
//! | passes | one |
//! | --- | --- |
//! | `batch_norm.forward` or `.inference`, perhaps `add`, `activation.forward` | `norm_act.forward` |
//! | `activation.backward`, `batch_norm.backward` | `norm_act.backward` |
//!
//! Tried without gain: a convolution and the ReLU after it, the ReLU's gradient and that of a bias (a U-Net).

use crate::emit::{Action, Effort, Program, Recomputable, Step, Value};
use kernels::norm_act::{Backward, Forward, Norm};
use kernels::{Access, Call, Span, Write};

/// Joins all passes that can be.
pub(super) fn join(program: &mut Program) {
    let mut at = 0;
    while at < program.steps.len() {
        // Whatever is joined ends or begins here.
        at = join_forward(program, at).or_else(|| join_backward(program, at)).unwrap_or(at + 1);
    }
}

/// If step `at` is the activation of normalized values: one step in its place. Returns the step to go on with.
fn join_forward(program: &mut Program, at: usize) -> Option<usize> {
    let Some(&Call::ActivationForward(activation)) = program.steps[at].action.call() else { return None };
    let add = passed_from(program, activation.x, at);
    let add = add.and_then(|i| match program.steps[i].action.call() {
        Some(&Call::Add(add)) => Some((i, add)),
        _ => None,
    });
    // Of a sum, the summand whose weight is 1 may be the normalized one.
    let summands = match add {
        Some((i, add)) if add.weight == 1.0 => [Some((i, add.a, add.b)), Some((i, add.b, add.a))],
        Some((i, add)) => [Some((i, add.a, add.b)), None],
        None => [Some((at, activation.x, Span::EMPTY)), None],
    };
    let (norm_at, norm, skip) = summands.into_iter().flatten().find_map(|(reader, z, skip)| {
        let i = passed_from(program, z, reader)?;
        let norm = match *program.steps[i].action.call()? {
            Call::BatchNormForward(norm) => Norm::Batch(norm),
            Call::BatchNormInference(norm) => Norm::Running(norm),
            _ => return None,
        };
        (z != skip && can_run_at(program, i, at, z)).then_some((i, norm, skip))
    })?;
    let weight = add.map_or(0.0, |(_, add)| add.weight);
    let norm = norm.with_output(activation.y);
    let joined = Forward { norm, skip, weight, activation: activation.activation };
    if skip.is_empty() {
        list_recomputable(program, at, joined);
    }
    program.steps[at].action = Action::Call(joined.into());
    let mut removed = vec![norm_at];
    removed.extend(add.map(|(i, _)| i));
    removed.sort_unstable();
    removed.iter().rev().for_each(|&i| drop(program.steps.remove(i)));
    Some(at + 1 - removed.len())
}

/// Lists the output of step `at` among the values that can be recomputed, which are in the order of their nodes. It
/// takes a pass over the normalization's input, which is kept anyway.
fn list_recomputable(program: &mut Program, at: usize, joined: Forward) {
    let (node, value) = (program.steps[at].node, joined.norm.output());
    let copy = program.value(program.values[value.offset].shape);
    let again = Forward { norm: joined.norm.again().with_output(copy), ..joined };
    let place = program.recomputable.partition_point(|other| other.node.index() <= node.index());
    let effort = Effort::Normalization;
    program.recomputable.insert(place, Recomputable { effort, node, value, copy, call: again.into() });
}

/// If step `at` is the backward pass of an activation of normalized values: one step in its place. Returns the step to
/// go on with.
fn join_backward(program: &mut Program, at: usize) -> Option<usize> {
    let Some(&Call::ActivationBackward(activation)) = program.steps[at].action.call() else { return None };
    let dz = activation.dx;
    if activation.write == Write::Add || program.values[dz.offset].fixed.is_some() {
        return None;
    }
    let (norm_at, mut norm) = (at + 1..program.steps.len()).find_map(|i| match program.steps[i].action.call() {
        Some(&Call::BatchNormBackward(norm)) if norm.dy == dz => {
            can_run_at(program, i, at, Span::EMPTY).then_some((i, norm))
        }
        _ => None,
    })?;
    let is_passed_on = program.values[dz.offset].kept || users(program, dz).count() > 2;
    if !is_passed_on && !norm.dx.is_empty() && norm.dx_write == Write::Set {
        norm.dy = norm.dx;
    }
    program.steps.remove(norm_at);
    let joined = Backward { activation: activation.activation, saved: activation.saved, dy: activation.dy, norm };
    program.steps[at].action = Action::Call(joined.into());
    Some(at + 1)
}

/// The step that writes `value`, if `reader` is the only one to read it.
fn passed_from(program: &Program, value: Span, reader: usize) -> Option<usize> {
    let Value { fixed, kept, .. } = program.values[value.offset];
    let users: Vec<usize> = users(program, value).collect();
    match *users {
        [writer, last] if last == reader && fixed.is_none() && !kept => Some(writer),
        _ => None,
    }
}

/// The steps that read or write a value.
fn users(program: &Program, value: Span) -> impl Iterator<Item = usize> + '_ {
    let uses = move |step: &Step| step.action.operands().iter().any(|(span, _)| *span == value);
    (0..program.steps.len()).filter(move |&i| uses(&program.steps[i]))
}

/// Whether step `from` can run in the place of step `to`: no step between them depends on it or the other way round,
/// but for what it passes on, `except`.
fn can_run_at(program: &Program, from: usize, to: usize, except: Span) -> bool {
    let moved = program.steps[from].action.operands();
    let depends = |&(span, access): &(Span, Access)| {
        let reads_alone = |other: Access| access == Access::Read && other == Access::Read;
        moved.iter().any(|&(other, of_other)| other == span && other != except && !reads_alone(of_other))
    };
    let between = from.min(to) + 1..from.max(to);
    !program.steps[between].iter().any(|step| step.action.operands().iter().any(depends))
}
