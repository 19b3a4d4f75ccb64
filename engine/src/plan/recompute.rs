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
    let numbers = numbers(program, candidates);
    let with = |dropped: &dyn Fn(&Recomputable, usize) -> bool| {
        let mut program = program.clone();
        for (candidate, number) in candidates.iter().zip(&numbers).rev() {
            if dropped(candidate, *number) {
                insert(&mut program, candidate);
            }
        }
        program
    };
    let count = |effort: Effort| candidates.iter().filter(|candidate| candidate.effort == effort).count();
    let is_free = |candidate: &Recomputable| candidate.effort == Effort::Normalization && options.recompute;
    let passes = |dropped: usize| {
        with(&|candidate, number| is_free(candidate) || candidate.effort == Effort::Elementwise && number < dropped)
    };
    // Placing takes most of the time, so it is done once per program.
    let arena = |program: &Program| place::place(program, &place::lifetimes(program), options.reuse).arena;
    let fewest = passes(0);
    let Some(limit) = options.arena_limit else { return fewest };
    if arena(&fewest) <= limit {
        return fewest;
    }

    let (mut too_few, mut enough) = (0, count(Effort::Elementwise));
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
    for every in 2..=count(Effort::Convolution) {
        let program = with(&|candidate, number| match candidate.effort {
            Effort::Normalization => options.recompute,
            Effort::Elementwise => true,
            Effort::Convolution => number % every != every - 1,
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

/// The numbers of the candidates of each effort. Passes over memory begin with the value that would be kept longest
/// without being read: this saves its memory for most of the step, and at its peak. (The last values are read so soon
/// that recomputing them saves nothing, and the first layers' are read late, if there are connections that skip
/// layers.) Convolutions are numbered from the last one.
fn numbers(program: &Program, candidates: &[Recomputable]) -> Vec<usize> {
    let unread = |candidate: &Recomputable| {
        let is_forward = |&i: &usize| program.steps[i].phase == Phase::Forward;
        let (forward, backward): (Vec<usize>, Vec<usize>) =
            uses(program, candidate.value).into_iter().partition(is_forward);
        backward.first().map_or(0, |first| first - forward.last().unwrap_or(first))
    };
    let mut order: Vec<usize> = (0..candidates.len()).rev().collect();
    order.sort_by_key(|&i| match candidates[i].effort {
        Effort::Elementwise => Reverse(unread(&candidates[i])),
        Effort::Normalization | Effort::Convolution => Reverse(0),
    });
    let (mut numbers, mut counts) = (vec![0; candidates.len()], [0; 3]);
    for i in order {
        let count = &mut counts[candidates[i].effort as usize];
        numbers[i] = *count;
        *count += 1;
    }
    numbers
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
