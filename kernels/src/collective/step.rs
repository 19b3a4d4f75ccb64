//! [`RankStep`]: an operation over ranks, as data.

use super::operations::{BatchStats, Collective};
use super::part::Part;
use crate::backend::Backend;
use crate::memory::Span;
use crate::pass::Access;

/// An operation of a [`Collective`] and its operands. It is not a [`Pass`](crate::Pass): ranks wait for each other in
/// it, so it is never [repeated](Backend::replay) from a recording.
#[derive(Clone, Copy, Debug)]
pub enum RankStep {
    /// [`Collective::sum`]
    Sum {
        /// Factor of this rank's values.
        weight: f64,
        /// This rank's values, which become the sum.
        x: Span,
    },
    /// [`Collective::batch_stats`]
    BatchStats {
        /// This rank's part of the batch.
        part: Part,
        /// The statistics.
        operands: BatchStats,
    },
}

impl RankStep {
    /// Name in reports: `collective.sum`.
    pub fn name(&self) -> &'static str {
        match self {
            RankStep::Sum { .. } => "collective.sum",
            RankStep::BatchStats { .. } => "collective.batch_stats",
        }
    }

    /// Visits every operand, to read or change its span. Empty ones are skipped.
    pub fn operands_mut(&mut self, visit: &mut dyn FnMut(&mut Span, Access)) {
        let mut update = |span: &mut Span| {
            if !span.is_empty() {
                visit(span, Access::Update);
            }
        };
        match self {
            RankStep::Sum { x, .. } => update(x),
            RankStep::BatchStats { operands: BatchStats { mean, var }, .. } => {
                update(mean);
                update(var);
            }
        }
    }

    /// Runs the operation. All ranks must do so at the same time.
    pub fn run<B: Backend>(&self, ranks: &dyn Collective<B>, backend: &B, memory: &mut B::Memory) {
        match self {
            RankStep::Sum { weight, x } => ranks.sum(backend, memory, *weight, *x),
            RankStep::BatchStats { part, operands } => ranks.batch_stats(backend, memory, part, *operands),
        }
    }
}
