//! [`Ready`]: a plan in a session.

use crate::emit::{Action, Step};
use crate::graph::{Op, TensorInfo};
use crate::ids::NodeId;
use crate::plan::Plan;
use crate::regions::{INPUTS, WORKSPACE};
use crate::{Error, Result};
use kernels::random::Key;
use kernels::{Backend, Context, Refusal, Span};

/// A plan whose operands have places in the session's memory, and whose passes are prepared for the backend.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) actions: Vec<Action>,
    /// The scratch of each step.
    workspaces: Vec<Span>,
    /// What is poisoned after each step; empty if nothing is.
    pub(super) freed: Vec<Vec<Span>>,
    /// Where the plan's inputs begin in the inputs' region.
    inputs: usize,
    /// The places that the caller has to write before the first run, and whether it has written them.
    pub(super) written: Vec<(Span, bool)>,
    /// Whether it has run.
    pub(super) has_run: bool,
    /// Whether every run does the same.
    pub(super) is_repeatable: bool,
}

impl Ready {
    pub(super) fn new<B: Backend>(backend: &B, plan: Plan, inputs: usize) -> Ready {
        let mut ready = Ready {
            actions: Vec::new(),
            workspaces: Vec::new(),
            freed: Vec::new(),
            inputs,
            written: Vec::new(),
            is_repeatable: false,
            has_run: false,
            plan,
        };
        (ready.actions, ready.workspaces) =
            ready.plan.actions().map(|(_, action)| ready.locate(backend, action)).unzip();
        ready.is_repeatable = ready.actions.iter().all(Action::is_repeatable);
        if ready.plan.options.poison {
            ready.freed.clone_from(&ready.plan.placement.freed);
        }
        let graph = &ready.plan.graph;
        let inputs = graph.ids().filter(|&id| matches!(graph.get(id).op, Op::Input));
        let values = inputs.filter_map(|id| ready.plan.program.of_node[id.index()]);
        ready.written =
            values.chain(ready.plan.program.cotangent).map(|value| (ready.place_of(value), false)).collect();
        ready
    }

    /// An action of the plan with its operands where this session has them, prepared for the backend, and its
    /// workspace.
    fn locate<B: Backend>(&self, backend: &B, mut action: Action) -> (Action, Span) {
        action.operands_mut(&mut |span, _| *span = self.shift(*span));
        let workspace = Span::new(WORKSPACE, 0, action.prepare(backend));
        (action, workspace)
    }

    /// Elements of scratch that the step with the largest workspace needs.
    pub(super) fn workspace_len(&self) -> usize {
        self.workspaces.iter().map(|workspace| workspace.len).max().unwrap_or(0)
    }

    /// Workspace and key of step `i`.
    pub(super) fn context(&self, i: usize, key: Key) -> Context {
        Context { workspace: self.workspaces[i], key }
    }

    /// Where a value lies in this session.
    pub(super) fn place_of(&self, value: Span) -> Span {
        self.shift(self.plan.place_of(value))
    }

    fn shift(&self, place: Span) -> Span {
        if place.region == INPUTS { Span { offset: place.offset + self.inputs, ..place } } else { place }
    }

    /// Name of the input or cotangent that the caller writes at a place.
    pub(super) fn input_name(&self, place: Span) -> String {
        let graph = &self.plan.graph;
        let at = |id: &NodeId| {
            let value = self.plan.program.of_node[id.index()];
            matches!(graph.get(*id).op, Op::Input) && value.is_some_and(|value| self.place_of(value) == place)
        };
        match graph.ids().find(at) {
            Some(id) => graph.name(id).to_owned(),
            None => format!("cotangent of {}", graph.name(self.plan.purpose.outputs()[0])),
        }
    }
}

/// # Errors
/// If `got` is not the number of elements of the shape.
pub(super) fn check_len(name: &str, shape: crate::Shape, got: usize) -> Result<()> {
    match got == shape.len() {
        true => Ok(()),
        false => Err(Error::Length { name: name.to_owned(), shape, expected: shape.len(), got }),
    }
}

/// # Errors
/// If plan `i` cannot run on this backend, as `rank` (a rank and the number of ranks), or in a session with plan
/// `first`.
pub(super) fn check_plan<B: Backend>(backend: &B, i: usize, plan: &Plan, first: &Plan, rank: [usize; 2]) -> Result<()> {
    check_tensors(i, first.graph.tensors(), plan.graph.tensors())?;
    check_supported(backend, plan)?;
    check_rank(i, plan, rank)
}

/// # Errors
/// If the plan has a pass that the backend cannot run.
fn check_supported<B: Backend>(backend: &B, plan: &Plan) -> Result<()> {
    let refused = |step: &Step| Some((step.node, backend.refusal(step.action.call()?)?));
    let Some((node, refusal)) = plan.program.steps.iter().find_map(refused) else { return Ok(()) };
    let (op, node, backend) = (plan.graph.get(node).op.kind(), plan.graph.name(node).to_owned(), backend.name());
    Err(match refusal {
        Refusal::HostOnly => Error::NoCustom { op, node, backend },
        Refusal::TooLarge(reason) => Error::TooLarge { op, node, backend, reason },
    })
}

/// # Errors
/// If the plan is for the part of another rank.
fn check_rank(plan: usize, checked: &Plan, got: [usize; 2]) -> Result<()> {
    match checked.purpose.part().map(|part| [part.rank, part.ranks]) {
        Some(expected) if expected != got => Err(Error::OtherRank { plan, expected, got }),
        _ => Ok(()),
    }
}

/// # Errors
/// If the tensors of plan `plan` are not those of the first.
fn check_tensors(plan: usize, first: &[TensorInfo], tensors: &[TensorInfo]) -> Result<()> {
    let show = |tensor: Option<&TensorInfo>| tensor.map_or("no tensor".to_owned(), TensorInfo::to_string);
    for i in 0..first.len().max(tensors.len()) {
        let (expected, got) = (first.get(i), tensors.get(i));
        if !matches!((expected, got), (Some(a), Some(b)) if a.matches(b)) {
            return Err(Error::TensorsDiffer { plan, expected: show(expected), got: show(got) });
        }
    }
    Ok(())
}
