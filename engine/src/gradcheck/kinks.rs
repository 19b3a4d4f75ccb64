//! [`Stepper`]: which calls have kinks where differences are taken, and what else their slopes may be there.

use super::altered::Alteration;
use kernels::{Access, Backend, Call, Context, HostMemory, Reference, Span};
use std::cell::RefCell;

/// Smallest second difference of a kink, relative to the first differences, and to the largest element of the operand.
const SMALLEST_KINK: [f64; 2] = [1e-6, 1e-13];
/// How much, relatively, the second difference over half a step may differ from a quarter where there is no kink.
const CURVATURE: f64 = 0.01;

/// An element of a call's result at which the call has a kink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kink {
    /// Number of the call in the run.
    call: usize,
    /// Index among what the call writes.
    operand: usize,
    element: usize,
}

/// What a run does.
#[derive(Clone, Debug)]
pub(super) enum Run {
    /// What [`Reference`] does.
    Plain,
    /// The same, and keeps what every call reads and writes: the base of later steps.
    Base,
    /// Every call `b = F(a)` gives `b0 + (F(a0 + d) - F(a0 - d)) / 2` for `d = a - a0`, where `a0` and `b0` are those
    /// of the base: the slope of the step without its curvature. Elements with a kink between `a0 - d` and `a0 + d`
    /// are listed, and take the slope of the side `a0 + d`, except one, which takes that of the side `a0 - d`.
    Step {
        /// The exception.
        other_side: Option<Kink>,
    },
}

/// What a call reads and writes.
struct Operands {
    reads: Vec<Vec<f64>>,
    writes: Vec<Vec<f64>>,
}

struct State {
    run: Run,
    /// Number of the next call.
    call: usize,
    base: Vec<Operands>,
    kinks: Vec<Kink>,
}

/// [`Reference`], and what it knows of kinks.
pub(super) struct Stepper(RefCell<State>);

impl Stepper {
    pub(super) fn new() -> Stepper {
        Stepper(RefCell::new(State { run: Run::Plain, call: 0, base: Vec::new(), kinks: Vec::new() }))
    }

    /// Says what the next run does.
    pub(super) fn begin(&self, run: Run) {
        let mut state = self.0.borrow_mut();
        if matches!(run, Run::Base) {
            state.base.clear();
        }
        state.kinks.clear();
        (state.run, state.call) = (run, 0);
    }

    /// The kinks of the last step.
    pub(super) fn kinks(&self) -> Vec<Kink> {
        self.0.borrow().kinks.clone()
    }
}

impl Alteration for Stepper {
    fn run(&self, memory: &mut HostMemory<f64>, call: &Call, cx: Context) {
        let state = &mut *self.0.borrow_mut();
        let operands = call.operands();
        let spans = |other: Access| -> Vec<Span> {
            operands.iter().filter(|(_, access)| *access != other).map(|(span, _)| *span).collect()
        };
        let step = Step { call, cx, reads: spans(Access::Set), writes: spans(Access::Read) };
        match state.run {
            Run::Plain => Reference.run(memory, call, cx),
            Run::Base => {
                let reads = values(memory, &step.reads);
                Reference.run(memory, call, cx);
                state.base.push(Operands { reads, writes: values(memory, &step.writes) });
            }
            Run::Step { other_side } => {
                let (number, base) = (state.call, &state.base[state.call]);
                step.take(memory, base, |operand, element| {
                    let kink = Kink { call: number, operand, element };
                    state.kinks.push(kink);
                    other_side == Some(kink)
                });
            }
        }
        state.call += 1;
    }
}

/// The operands in memory.
fn values(memory: &HostMemory<f64>, spans: &[Span]) -> Vec<Vec<f64>> {
    spans.iter().map(|&span| memory.get(span).to_vec()).collect()
}

/// A call that takes a step.
struct Step<'a> {
    call: &'a Call,
    cx: Context,
    reads: Vec<Span>,
    writes: Vec<Span>,
}

impl Step<'_> {
    /// Runs the call as [`Run::Step`] says. `takes_other_side` is asked for every kink.
    fn take(
        &self,
        memory: &mut HostMemory<f64>,
        base: &Operands,
        mut takes_other_side: impl FnMut(usize, usize) -> bool,
    ) {
        let reads = values(memory, &self.reads);
        if reads == base.reads {
            Reference.run(memory, self.call, self.cx);
            return;
        }
        let [ahead, behind, half_ahead, half_behind] =
            [1.0, -1.0, 0.5, -0.5].map(|share| self.at(memory, &base.reads, &reads, share));
        for (span, values) in self.reads.iter().zip(&reads) {
            memory.get_mut(*span).copy_from_slice(values);
        }
        for (operand, (span, base)) in self.writes.iter().zip(&base.writes).enumerate() {
            let largest = base.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
            for (i, out) in memory.get_mut(*span).iter_mut().enumerate() {
                let (b, ahead, behind) = (base[i], ahead[operand][i], behind[operand][i]);
                let second = ahead + behind - 2.0 * b;
                let half_second = half_ahead[operand][i] + half_behind[operand][i] - 2.0 * b;
                let smallest = SMALLEST_KINK[0] * ((ahead - b).abs() + (behind - b).abs()) + SMALLEST_KINK[1] * largest;
                let is_kink = second.abs() > smallest && (half_second - second / 4.0).abs() > CURVATURE * second.abs();
                *out = match is_kink {
                    false => b + (ahead - behind) / 2.0,
                    true if takes_other_side(operand, i) => 2.0 * b - behind,
                    true => ahead,
                };
            }
        }
    }

    /// What the call writes if it reads `from + share (to - from)`.
    fn at(&self, memory: &mut HostMemory<f64>, from: &[Vec<f64>], to: &[Vec<f64>], share: f64) -> Vec<Vec<f64>> {
        for ((span, from), to) in self.reads.iter().zip(from).zip(to) {
            let place = memory.get_mut(*span).iter_mut().zip(from.iter().zip(to));
            place.for_each(|(x, (from, to))| *x = from + share * (to - from));
        }
        Reference.run(memory, self.call, self.cx);
        values(memory, &self.writes)
    }
}
