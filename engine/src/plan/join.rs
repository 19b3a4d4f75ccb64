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

use crate::emit::{Action, Effort, Program, Recomputable, Value};
use crate::mode::Phase;
use kernels::activation;
use kernels::norm_act::{Backward, Forward, Norm};
use kernels::{Access, Call, Span, Write};

/// Joins all passes that can be.
pub(super) fn join(program: &mut Program) {
    let mut uses = Uses::of(program);
    let mut is_removed = vec![false; program.steps.len()];
    for at in 0..program.steps.len() {
        // Whatever is joined ends or begins here.
        let joined = match program.steps[at].action.call() {
            Some(&Call::ActivationForward(activation)) => norm_and_activation(program, &uses, at, activation),
            Some(&Call::ActivationBackward(activation)) => activation_and_norm(program, &uses, at, activation),
            _ => None,
        };
        if let Some(Joined { call, removed }) = joined {
            list_recomputable(program, &uses, at, &call);
            program.steps[at].action = Action::Call(call);
            uses.replace(at, &removed, &program.steps[at].action);
            removed.into_iter().for_each(|i| is_removed[i] = true);
        }
    }
    let mut is_removed = is_removed.into_iter();
    program.steps.retain(|_| !is_removed.next().unwrap_or(false));
}

/// What takes the place of a step, and other steps that it computes too.
struct Joined {
    call: Call,
    removed: Vec<usize>,
}

/// The activation of step `at` and what gives its input, if that is a batch normalization, or a sum with one.
fn norm_and_activation(program: &Program, uses: &Uses, at: usize, activation: activation::Forward) -> Option<Joined> {
    let add = passed_from(program, uses, activation.x, at);
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
        let i = passed_from(program, uses, z, reader)?;
        let norm = match *program.steps[i].action.call()? {
            Call::BatchNormForward(norm) => Norm::Batch(norm),
            Call::BatchNormInference(norm) => Norm::Running(norm),
            _ => return None,
        };
        (z != skip && uses.can_run_at(i, at, z)).then_some((i, norm, skip))
    })?;
    let weight = add.map_or(0.0, |(_, add)| add.weight);
    let joined = Forward { norm: norm.with_output(activation.y), skip, weight, activation: activation.activation };
    let removed = std::iter::once(norm_at).chain(add.map(|(i, _)| i)).collect();
    Some(Joined { call: joined.into(), removed })
}

/// The backward pass of an activation, which is step `at`, and that of the batch normalization before it.
fn activation_and_norm(program: &Program, uses: &Uses, at: usize, activation: activation::Backward) -> Option<Joined> {
    let activation::Backward { activation, saved, dy, dx: dz, write } = activation;
    if write == Write::Add || program.values[dz.offset].fixed.is_some() {
        return None;
    }
    let users = &uses.users[dz.offset];
    let (norm_at, mut norm) = users.iter().find_map(|&i| match program.steps[i].action.call() {
        Some(&Call::BatchNormBackward(norm)) if norm.dy == dz && i > at => {
            uses.can_run_at(i, at, Span::EMPTY).then_some((i, norm))
        }
        _ => None,
    })?;
    let is_passed_on = program.values[dz.offset].kept || users.len() > 2;
    if !is_passed_on && !norm.dx.is_empty() && norm.dx_write == Write::Set {
        norm.dy = norm.dx;
    }
    Some(Joined { call: Backward { activation, saved, dy, norm }.into(), removed: vec![norm_at] })
}

/// Lists the output of step `at`, which becomes `joined`, among the values that can be recomputed, which are in the
/// order of their nodes, if it is read in the backward phase. Without a skip, it takes a pass over the normalization's
/// input, which is kept anyway.
fn list_recomputable(program: &mut Program, uses: &Uses, at: usize, joined: &Call) {
    let Call::NormActForward(joined) = joined else { return };
    let (node, value) = (program.steps[at].node, joined.norm.output());
    let is_read_again = uses.users[value.offset].iter().any(|&i| program.steps[i].phase == Phase::Backward);
    if !joined.skip.is_empty() || !is_read_again {
        return;
    }
    let copy = program.value(program.values[value.offset].shape);
    let again = Forward { norm: joined.norm.again().with_output(copy), ..*joined };
    let place = program.recomputable.partition_point(|other| other.node.index() <= node.index());
    let effort = Effort::Normalization;
    program.recomputable.insert(place, Recomputable { effort, node, value, copy, call: again.into() });
}

/// The step that writes `value`, if `reader` is the only one to read it.
fn passed_from(program: &Program, uses: &Uses, value: Span, reader: usize) -> Option<usize> {
    let Value { fixed, kept, .. } = program.values[value.offset];
    match *uses.users[value.offset] {
        [writer, last] if last == reader && fixed.is_none() && !kept => Some(writer),
        _ => None,
    }
}

/// Which steps use which values.
struct Uses {
    /// The operands of each step; none of one that is removed.
    operands: Vec<Vec<(Span, Access)>>,
    /// The steps that use each value, in their order.
    users: Vec<Vec<usize>>,
}

impl Uses {
    fn of(program: &Program) -> Uses {
        let steps = program.steps.len();
        let mut uses = Uses { operands: vec![Vec::new(); steps], users: vec![Vec::new(); program.values.len()] };
        program.steps.iter().enumerate().for_each(|(i, step)| uses.insert(i, &step.action));
        uses
    }

    fn insert(&mut self, step: usize, action: &Action) {
        self.operands[step] = action.operands();
        for (span, _) in &self.operands[step] {
            let users = &mut self.users[span.offset];
            if let Err(place) = users.binary_search(&step) {
                users.insert(place, step);
            }
        }
    }

    fn remove(&mut self, step: usize) {
        for (span, _) in std::mem::take(&mut self.operands[step]) {
            self.users[span.offset].retain(|user| *user != step);
        }
    }

    /// Step `at` becomes `action`, which computes what the `removed` steps computed too.
    fn replace(&mut self, at: usize, removed: &[usize], action: &Action) {
        removed.iter().for_each(|step| self.remove(*step));
        self.remove(at);
        self.insert(at, action);
    }

    /// Whether step `from` can run in the place of step `to`: no step between them depends on it or the other way
    /// round, but for what it passes on, `except`.
    fn can_run_at(&self, from: usize, to: usize, except: Span) -> bool {
        let depends = |&(span, access): &(Span, Access)| {
            let reads_alone = |other: Access| access == Access::Read && other == Access::Read;
            let moved = &self.operands[from];
            moved.iter().any(|&(other, of_other)| other == span && other != except && !reads_alone(of_other))
        };
        let between = from.min(to) + 1..from.max(to);
        !self.operands[between].iter().flatten().any(depends)
    }
}
