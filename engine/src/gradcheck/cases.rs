//! [`Case`]: graphs of every operation.

use crate::ids::NodeId;
use crate::ops::case::{Random, Use};
use crate::plan::{Plan, PlanOptions};
use crate::{Graph, Result, ops};
use kernels::Call;
use kernels::conv2d::Conv2dParams;

/// A graph whose gradients can be checked.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operation under test: `conv2d`, `gelu`.
    pub op: String,
    /// The operation, shapes and parameters.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// The node to differentiate.
    pub output: NodeId,
    /// Sets of inputs and parameters in which the output is linear while the others are constant: see
    /// [`check_adjoint`](super::check_adjoint).
    pub linear: Vec<Vec<NodeId>>,
    /// Whether the operation is used twice on the same values.
    pub fan_out: bool,
}

/// Cases for every operation: each alone, and twice on the same values, so that gradients are both set and added to.
///
/// # Panics
/// If a case cannot be recorded, which is a bug of this crate.
pub fn cases() -> Vec<Case> {
    alone_and_twice(ops::cases())
}

/// Cases with random shapes and parameters, which depend on the seed: at least one for every operation, alone and twice
/// as in [`cases`].
///
/// # Panics
/// If a case cannot be recorded, which is a bug of this crate.
pub fn random_cases(seed: u64) -> Vec<Case> {
    alone_and_twice(ops::random_cases(&mut Random::new(seed)))
}

fn alone_and_twice(of: Vec<ops::case::Case>) -> Vec<Case> {
    let mut cases = Vec::new();
    for case in of {
        for (fan_out, made) in [(false, case.plain()), (true, case.fan_out())] {
            let name = format!("{}{}", case.name, if fan_out { ", fan-out" } else { "" });
            let made = made.unwrap_or_else(|error| panic!("case {name}: {error}"));
            let Use { graph, output, linear } = made;
            cases.push(Case { op: case.op.clone(), name, graph, output, linear, fan_out });
        }
    }
    cases
}

impl Case {
    /// Shapes of the convolutions whose passes the case runs, for callers that choose an algorithm.
    ///
    /// # Errors
    /// If the output has no gradients.
    pub fn convolutions(&self) -> Result<Vec<Conv2dParams>> {
        Ok(self.plan()?.program.steps.iter().filter_map(|step| step.action.call().and_then(conv2d)).collect())
    }

    fn plan(&self) -> Result<Plan> {
        Plan::gradients(&self.graph, self.output, true, &PlanOptions::default())
    }
}

/// Shape of the convolution, if the call is one of the passes with a choice of algorithm.
fn conv2d(call: &Call) -> Option<Conv2dParams> {
    match call {
        Call::Conv2dForward(pass) => Some(pass.params),
        Call::Conv2dGradInput(pass) => Some(pass.params),
        Call::Conv2dGradWeight(pass) => Some(pass.params),
        _ => None,
    }
}
