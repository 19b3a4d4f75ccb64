//! Computes values again for the backward passes instead of keeping them.
//!
//! The output of a batch normalization is read by the convolution behind it, forward and, for the weight gradient,
//! backward. Kept in between, it costs a tensor for most of the step. But the normalization's own backward pass,
//! which comes after that of the convolution, keeps the input and the statistics alive anyway, and from them the
//! output is one cheap pass away.

use super::emit::{Program, Recomputable, Step};
use super::{Access, Pass};
use kernels::Span;

/// For every value that can be computed again from what is alive anyway: inserts that pass before the first backward
/// pass that reads it, and lets this and later passes read the copy.
pub(crate) fn insert(program: &mut Program) {
    // later nodes first: to recompute one, an earlier one may have to be, too
    for candidate in std::mem::take(&mut program.recomputable).into_iter().rev() {
        let Some(at) = place(program, &candidate) else { continue };
        let Recomputable { node, value, copy, call } = candidate;
        for step in &mut program.steps[at..] {
            step.call.operands_mut(&mut |span, _| {
                if *span == value {
                    *span = copy;
                }
            });
        }
        program.steps.insert(at, Step { node, pass: Pass::Recompute, call, over: None });
    }
}

/// Before which step the value is to be computed again, if it is read by a backward pass and can be.
fn place(program: &Program, candidate: &Recomputable) -> Option<usize> {
    if program.values[candidate.value.offset].kept {
        return None;
    }
    let is_backward = |i: &usize| program.steps[*i].pass != Pass::Forward;
    let at = uses(program, candidate.value).into_iter().find(is_backward)?;
    let is_alive = |span: Span| {
        let value = &program.values[span.offset];
        value.fixed.is_some() || value.kept || uses(program, span).last() >= Some(&at)
    };
    let mut operands = candidate.call.operands().into_iter().filter(|(_, access)| *access == Access::Read);
    operands.all(|(span, _)| is_alive(span)).then_some(at)
}

/// The steps that read or write a value.
fn uses(program: &Program, value: Span) -> Vec<usize> {
    let has = |step: &Step| step.call.operands().iter().any(|(span, _)| *span == value);
    (0..program.steps.len()).filter(|&i| has(&program.steps[i])).collect()
}
