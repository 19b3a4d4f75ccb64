//! Where values lie: lifetimes, passes that write in place, and the arena.

use super::arena::{self, Buffer};
use crate::emit::{Program, Step, Value};
use crate::regions::ARENA;
use kernels::{Access, Span};

/// Where every value lies.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    /// The place of each value; empty if no pass uses it.
    pub(crate) spans: Vec<Span>,
    /// The places that each step is the last to use.
    pub(crate) freed: Vec<Vec<Span>>,
    /// Elements of the arena.
    pub(crate) arena: usize,
    /// Elements of the arena in use at every step.
    pub(crate) in_use: Vec<usize>,
}

/// The first and last step that uses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// The lifetime of every value that lies in the arena and is used; that of a kept value ends after the last step.
pub(crate) fn lifetimes(program: &Program) -> Vec<Option<Lifetime>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; program.values.len()];
    for (i, step) in program.steps.iter().enumerate() {
        for (span, access) in step.action.operands() {
            let value = &program.values[span.offset];
            if value.fixed.is_some() {
                continue;
            }
            let last = if value.kept { program.steps.len() } else { i };
            let lifetime = lifetimes[span.offset].get_or_insert_with(|| {
                assert_eq!(access, Access::Set, "value {} is used before it is set", span.offset);
                Lifetime { first: i, last }
            });
            lifetime.last = last;
        }
    }
    lifetimes
}

/// Places every value. With `reuse`, values share places when their lifetimes allow.
pub(crate) fn place(program: &Program, lifetimes: &[Option<Lifetime>], reuse: bool) -> Placement {
    let steps = program.steps.len();
    let mut buffer_of: Vec<Option<usize>> = vec![None; program.values.len()];
    let mut buffers: Vec<Buffer> = Vec::new();
    for (i, step) in program.steps.iter().enumerate() {
        for (span, _) in step.action.operands() {
            let value = span.offset;
            let Some(lifetime) = lifetimes[value].filter(|_| buffer_of[value].is_none()) else { continue };
            let in_place = if reuse { overwritten(program, lifetimes, i, step, span) } else { None };
            let buffer = in_place.and_then(|operand| buffer_of[operand.offset]).unwrap_or_else(|| {
                buffers.push(Buffer { len: span.len, first: lifetime.first, last: lifetime.last });
                buffers.len() - 1
            });
            buffers[buffer].last = buffers[buffer].last.max(lifetime.last);
            buffer_of[value] = Some(buffer);
        }
    }

    let (offsets, arena) = if reuse {
        arena::pack(&buffers)
    } else {
        // Buffers that are in use all the time share nothing.
        let always: Vec<Buffer> = buffers.iter().map(|buffer| Buffer { first: 0, last: steps, ..*buffer }).collect();
        arena::pack(&always)
    };
    let place_of = |buffer: usize| Span::new(ARENA, offsets[buffer], buffers[buffer].len);
    let span = |(i, value): (usize, &Value)| value.fixed.or(buffer_of[i].map(place_of)).unwrap_or(Span::EMPTY);
    let spans = program.values.iter().enumerate().map(span).collect();
    let mut freed = vec![Vec::new(); steps];
    for (i, buffer) in buffers.iter().enumerate().filter(|(_, buffer)| buffer.last < steps) {
        freed[buffer.last].push(place_of(i));
    }
    Placement { spans, freed, arena, in_use: arena::in_use(&buffers, steps) }
}

/// The operand that `y` overwrites in step `i`, the first that uses `y`: the pass allows it and reads the operand once,
/// and nothing uses the operand later.
fn overwritten(program: &Program, lifetimes: &[Option<Lifetime>], i: usize, step: &Step, y: Span) -> Option<Span> {
    let (_, candidates) = step.action.call()?.in_place().filter(|(output, _)| *output == y)?;
    let operands = step.action.operands();
    candidates.into_iter().find(|candidate| {
        let dies_here = lifetimes[candidate.offset].is_some_and(|lifetime| lifetime.last == i);
        let uses = operands.iter().filter(|(span, _)| span == candidate).count();
        let fits = program.values[candidate.offset].shape.len() == y.len;
        dies_here && uses == 1 && fits
    })
}
