//! [`Action`]: what one step of a plan does.

use kernels::collective::{Collective, RankStep};
use kernels::{Access, Backend, Call, Context, Span};

/// What one step does: a kernel call, or a sum over the ranks of a data-parallel run.
///
/// Its spans are symbols for values while a plan is made, and places in memory when a session runs it.
#[expect(clippy::large_enum_variant, reason = "almost all are calls")]
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Call(Call),
    Ranks(RankStep),
}

impl<C: Into<Call>> From<C> for Action {
    fn from(call: C) -> Action {
        Action::Call(call.into())
    }
}

impl Action {
    /// Name of the pass, in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Call(call) => call.pass().name(),
            Action::Ranks(step) => step.name(),
        }
    }

    /// The kernel call, if it is one.
    pub(crate) fn call(&self) -> Option<&Call> {
        match self {
            Action::Call(call) => Some(call),
            Action::Ranks(_) => None,
        }
    }

    /// Visits every operand but the workspace. Absent operands are skipped.
    pub(crate) fn operands_mut(&mut self, visit: &mut dyn FnMut(&mut Span, Access)) {
        match self {
            Action::Call(call) => call.operands_mut(visit),
            Action::Ranks(step) => step.operands_mut(visit),
        }
    }

    /// Every operand but the workspace.
    pub(crate) fn operands(&self) -> Vec<(Span, Access)> {
        let mut operands = Vec::new();
        self.clone().operands_mut(&mut |span, access| operands.push((*span, access)));
        operands
    }

    /// Elements that it has to read plus those that it has to write, scratch excluded.
    pub(crate) fn elements_moved(&self) -> usize {
        let moved = |(span, access): (Span, Access)| if access == Access::Update { 2 * span.len } else { span.len };
        self.operands().into_iter().map(moved).sum()
    }

    /// Whether it does the same whenever it runs, without waiting for other ranks on the host.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.call().is_some_and(|call| call.pass().is_repeatable())
    }

    /// Prepares a kernel call. Returns the scratch that it needs, in elements.
    pub(crate) fn prepare(&mut self, backend: &impl Backend) -> usize {
        match self {
            Action::Call(call) => backend.prepare(call),
            Action::Ranks(_) => 0,
        }
    }

    /// Runs it.
    pub(crate) fn run<B: Backend>(&self, backend: &B, ranks: &dyn Collective<B>, memory: &mut B::Memory, cx: Context) {
        match self {
            Action::Call(call) => backend.run(memory, call, cx),
            Action::Ranks(step) => step.run(ranks, backend, memory),
        }
    }
}
