//! Recomputes values for the backward passes instead of keeping them.
//!
//! The convolution after a batch normalization reads the normalized values twice: forward, and backward for the weight
//! gradient. Keeping them in between costs a tensor for most of the step. But the normalization's own backward pass,
//! which comes after that of the convolution, needs the input and the statistics anyway, and one cheap pass recomputes
//! the values from these. So they are always recomputed ([`PlanOptions::recompute`]).
//!
//! Other values are recomputed only if memory is short ([`PlanOptions::arena_limit`]):
//!
//! 1. The output of a fused layer, from that of its convolution: a pass over memory. Those come first that would be
//!    kept longest without being read, and no more than needed.
//! 2. The output of the convolution too, in all but every `k`-th layer (Chen et al., "Training deep nets with sublinear
//!    memory cost", 2016): when the backward phase reaches the last of `k` layers, the convolutions of all of them run
//!    again, one after another. The smallest `k` that fits costs the fewest convolutions.

use super::place;
use super::purpose::PlanOptions;
use crate::emit::{Action, Effort, Program, Recomputable, Step};
use crate::mode::Phase;
use kernels::{Access, Call, Span};
use std::cmp::Reverse;

/// The program, with the recompute steps that the options ask for.
pub(crate) fn choose(program: &Program, candidates: &[Recomputable], options: &PlanOptions) -> Program {
    let with = |is_dropped: &dyn Fn(usize) -> bool| {
        let mut program = program.clone();
        for (i, candidate) in candidates.iter().enumerate().rev() {
            if is_dropped(i) {
                insert(&mut program, candidate);
            }
        }
        program
    };
    let is_free = |i: usize| candidates[i].effort == Effort::Normalization && options.recompute;
    let fewest = with(&is_free);
    let Some(limit) = options.arena_limit else { return fewest };
    // Placing takes most of the time, so it is done once per program.
    let arena = |program: &Program| place::place(program, &place::lifetimes(program), options.reuse).arena;
    if arena(&fewest) <= limit {
        return fewest;
    }

    // The last ones first.
    let of_effort = |effort: Effort| -> Vec<usize> {
        (0..candidates.len()).rev().filter(|&i| candidates[i].effort == effort).collect()
    };
    let (mut outputs, convolutions) = (of_effort(Effort::Elementwise), of_effort(Effort::Convolution));
    outputs.sort_by_key(|&i| Reverse(unread(program, candidates[i].value)));
    let passes = |dropped: usize| with(&|i| is_free(i) || outputs[..dropped].contains(&i));
    let (mut too_few, mut enough) = (0, outputs.len());
    let mut smallest = passes(enough);
    let mut least = arena(&smallest);
    if least <= limit {
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            let program = passes(middle);
            if arena(&program) <= limit {
                (enough, smallest) = (middle, program);
            } else {
                too_few = middle;
            }
        }
        return smallest;
    }
    for every in 2..=convolutions.len() {
        let is_kept = |i: usize| convolutions.iter().skip(every - 1).step_by(every).any(|&kept| kept == i);
        let program = with(&|i| match candidates[i].effort {
            Effort::Normalization => options.recompute,
            Effort::Elementwise => true,
            Effort::Convolution => !is_kept(i),
        });
        let needed = arena(&program);
        if needed < least {
            (smallest, least) = (program, needed);
        }
        if least <= limit {
            break;
        }
    }
    smallest
}

/// How many steps a value waits for its first backward reader, after the last forward one. The longer, the more of a
/// step its memory is free if it is recomputed, and with it the step's peak. (The last values are read so soon that
/// recomputing them saves nothing, and the first layers' are read late, if there are connections that skip layers.)
fn unread(program: &Program, value: Span) -> usize {
    let is_forward = |&i: &usize| program.steps[i].phase == Phase::Forward;
    let (forward, backward): (Vec<usize>, Vec<usize>) = uses(program, value).into_iter().partition(is_forward);
    backward.first().map_or(0, |first| first - forward.last().unwrap_or(first))
}

/// A value is recomputed rather than kept between two uses that are more steps apart than this. The backward passes of
/// one layer are fewer.
const FAR: usize = 16;

/// If backward passes read the value, and it can be recomputed from values that are alive anyway: inserts the pass
/// before the first reader, and lets this and later readers use the copy. If readers are far apart, this is done
/// several times. Later values must be inserted first: recomputing one may require recomputing an earlier one.
fn insert(program: &mut Program, candidate: &Recomputable) {
    let Recomputable { node, value, copy, ref call, .. } = *candidate;
    if program.values[value.offset].kept {
        return;
    }
    let mut readers = uses(program, value);
    readers.retain(|&i| program.steps[i].phase != Phase::Forward);
    // The last ones first, so that earlier steps keep their indices. Each is far from the reader before it.
    while let Some(&first) = readers.first() {
        let is_far = |pair: &[usize]| pair[1] - pair[0] > FAR;
        let starts = readers.windows(2).filter(|pair| is_far(pair)).map(|pair| pair[1]).rev().chain([first]);
        let Some(at) = starts.into_iter().find(|&at| can_run(program, call, at)) else { return };
        let new = if at == first { copy } else { program.value(program.values[value.offset].shape) };
        let mut again = call.clone();
        again.operands_mut(&mut |span, _| {
            if *span == copy {
                *span = new;
            }
        });
        for step in &mut program.steps[at..] {
            step.action.operands_mut(&mut |span, _| {
                if *span == value {
                    *span = new;
                }
            });
        }
        program.steps.insert(at, Step { node, phase: Phase::Recompute, action: Action::Call(again) });
        readers.retain(|&i| i < at);
    }
}

/// Whether everything that the call reads is alive before step `at`.
fn can_run(program: &Program, call: &Call, at: usize) -> bool {
    let is_alive = |span: Span| {
        let value = &program.values[span.offset];
        value.fixed.is_some() || value.kept || uses(program, span).last() >= Some(&at)
    };
    call.operands().into_iter().filter(|(_, access)| *access == Access::Read).all(|(span, _)| is_alive(span))
}

/// The steps that read or write a value.
fn uses(program: &Program, value: Span) -> Vec<usize> {
    let has = |step: &Step| step.action.operands().iter().any(|(span, _)| *span == value);
    (0..program.steps.len()).filter(|&i| has(&program.steps[i])).collect()
}
