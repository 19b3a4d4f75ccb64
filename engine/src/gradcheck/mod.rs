//! Checks gradients: of any graph against finite differences, and of any backend against [`Reference`].
//!
//! [`check`] takes a node `y` of a graph, a random cotangent `c`, and random parameters and inputs. It compares the
//! gradients of `f = sum_i c_i y_i` that a [`Plan::gradients`] plan computes in f64 with central differences,
//!
//! ```text
//! df/dx ~ (f(x + h) - f(x - h)) / 2h
//! ```
//!
//! element by element, where `f` comes from an inference plan, which knows nothing of gradients. An element is right if
//!
//! ```text
//! |analytic - numeric| <= tolerance (max(|analytic|, |numeric|) + 1e-4 sum_i |c_i y_i|)
//! ```
//!
//! The last term is there because `f` is a sum, and carries the rounding errors of all its terms. Batch normalization
//! works with the statistics of the batch.
//!
//! **Kinks.** Where `f` has a kink between `x - h` and `x + h` (ReLU, L1), a central difference is none of its slopes.
//! An element that is wrong is skipped if the slopes to its two sides differ by more than the error:
//!
//! ```text
//! |(f(x + h) - f(x)) / h - (f(x) - f(x - h)) / h| > |analytic - numeric|
//! ```
//!
//! For one kink the left side is twice the right; where `f` is smooth it is about `h |f''|`, so that next to nothing of
//! what is wrong can hide. No more than a twentieth of a tensor's elements may be skipped, but always one; more is
//! a failure.
//!
//! [`check_backend`] compares what another backend computes, in f32 say, with [`Reference`], for the same numbers.
//!
//! [`check_adjoint`] needs no other backend and no differences: where `y` is linear in some of its inputs,
//! `<c, y> = sum <x, dx>` over these, as forward and backward pass are adjoint to each other.
//!
//! [`cases`] and [`random_cases`] are graphs of every operation, each alone and with a fan-out of two. The command
//! `resconv gradcheck` runs all checks on all of them, on every path of the CPU.
//!
//! ```
//! # use engine::*;
//! # fn main() -> Result<()> {
//! let mut graph = Graph::new();
//! let x = graph.input("x", [3, 4])?;
//! let w = graph.parameter("w", [4, 2], Init::kaiming_uniform(4))?;
//! let h = graph.linear(x, w, None)?;
//! let y = graph.activation(h, Activation::Gelu)?;
//! let report = gradcheck::check(&graph, y, &GradcheckOptions::default())?;
//! assert!(report.passed(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Operations of your own are checked in the same way: [`CustomOp`](crate::CustomOp) has an example.

mod adjoint;
mod differences;
mod report;
mod values;

pub use adjoint::check_adjoint;
pub use report::{Report, Row, Worst};

use crate::ops::case::Random;
use crate::plan::{Plan, PlanOptions, Statistics};
use crate::session::{PlanId, Session};
use crate::{Graph, NodeId, Result, ops};
use differences::Differences;
use kernels::conv2d::Conv2dParams;
use kernels::{Backend, Element, Reference};
use values::Values;

/// How gradients are checked.
#[derive(Clone, Debug)]
pub struct GradcheckOptions {
    /// Seed of parameters, inputs, cotangent and of the choice of elements. Default 0.
    pub seed: u64,
    /// Half the distance `h` of central differences. Default 1e-5: their error is `h^2 f''' / 6`, and rounding errors
    /// of `f` over `h`.
    pub step: f64,
    /// Largest error of a gradient against finite differences, as the [module](self) defines it. Default 1e-6.
    pub tolerance: f64,
    /// Largest error of a backend's result against [`Reference`], relative to the tensor's largest element. Default
    /// 1e-4, for f32.
    pub backend_tolerance: f64,
    /// Least magnitude that the error of a backend is taken relative to. Default 0. Where values are of order 1, some tenths
    /// keep tensors of few elements, all of which happen to be near 0, from failing.
    pub backend_floor: f64,
    /// How many elements of every tensor are compared with finite differences, chosen at random; all if `None`, the
    /// default.
    pub samples: Option<usize>,
    /// Values of inputs; those not listed are uniform in `[-1, 1)`.
    pub inputs: Vec<(NodeId, Vec<f64>)>,
    /// How the plan uses memory. By default it poisons it.
    pub plan: PlanOptions,
}

impl Default for GradcheckOptions {
    fn default() -> GradcheckOptions {
        GradcheckOptions {
            seed: 0,
            step: 1e-5,
            tolerance: 1e-6,
            backend_tolerance: 1e-4,
            backend_floor: 0.0,
            samples: None,
            inputs: Vec::new(),
            plan: PlanOptions { poison: true, ..PlanOptions::default() },
        }
    }
}

/// A graph whose gradients are worth checking.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operation that it is about: `conv2d`, `gelu`.
    pub op: String,
    /// What it is: the operation, shapes and parameters.
    pub name: String,
    /// The graph.
    pub graph: Graph,
    /// The node to differentiate.
    pub output: NodeId,
    /// Sets of inputs and parameters in which the output is linear, the others given: see [`check_adjoint`].
    pub linear: Vec<Vec<NodeId>>,
    /// Whether the operation is used twice on the same values.
    pub fan_out: bool,
}

/// Cases for every operation: each alone, and twice on the same values, so that gradients are both set and added to.
///
/// # Panics
/// If a case does not record, which is a bug of this crate.
pub fn cases() -> Vec<Case> {
    alone_and_twice(ops::cases())
}

/// Cases of random shapes and parameters, which the seed decides: of every operation at least one, alone and twice as in
/// [`cases`].
///
/// # Panics
/// If a case does not record, which is a bug of this crate.
pub fn random_cases(seed: u64) -> Vec<Case> {
    alone_and_twice(ops::random_cases(&mut Random::new(seed)))
}

fn alone_and_twice(of: Vec<ops::case::Case>) -> Vec<Case> {
    let mut cases = Vec::new();
    for case in of {
        for (fan_out, made) in [(false, case.plain()), (true, case.fan_out())] {
            let name = format!("{}{}", case.name, if fan_out { ", fan-out" } else { "" });
            let made = made.unwrap_or_else(|error| panic!("case {name}: {error}"));
            let ops::case::Use { graph, output, linear } = made;
            cases.push(Case { op: case.op.clone(), name, graph, output, linear, fan_out });
        }
    }
    cases
}

impl Case {
    /// Terms of the longest sum in the passes that compute the output and its gradients. The rounding errors of a backend
    /// that adds up one after another grow with it: by its square root, if they are as often up as down.
    ///
    /// # Errors
    /// If the output has no gradients.
    pub fn longest_sum(&self) -> Result<usize> {
        let plan = self.plan()?;
        Ok(plan.program.steps.iter().map(|step| step.call.longest_sum()).max().unwrap_or(1))
    }

    /// Shapes of the convolutions whose passes the case runs, for those who choose an algorithm.
    ///
    /// # Errors
    /// If the output has no gradients.
    pub fn convolutions(&self) -> Result<Vec<Conv2dParams>> {
        Ok(self.plan()?.program.steps.iter().filter_map(|step| step.call.conv2d().copied()).collect())
    }

    fn plan(&self) -> Result<Plan> {
        Plan::gradients(&self.graph, self.output, true, &PlanOptions::default())
    }
}

/// Compares the gradients of `output` with respect to every parameter and input with central differences, all on
/// [`Reference`].
///
/// # Errors
/// If the output is not of the graph or depends on nothing, or an input's values have the wrong length. Wrong
/// gradients are no error here: ask [`Report::passed`].
pub fn check(graph: &Graph, output: NodeId, options: &GradcheckOptions) -> Result<Report> {
    check_on(Reference, graph, output, options)
}

/// As [`check`], with gradients from another backend that computes in f64.
///
/// # Errors
/// As [`check`].
pub fn check_on<B>(backend: B, graph: &Graph, output: NodeId, options: &GradcheckOptions) -> Result<Report>
where
    B: Backend<Element = f64>,
{
    let values = Values::draw(graph, output, options)?;
    let analytic = Outcome::of(backend, graph, output, options, &values)?;
    let mut differences = Differences::new(graph, output, options, &values)?;
    let rows = (0..values.leaves.len()).filter_map(|leaf| {
        let gradient = analytic.gradients[leaf].as_ref()?;
        Some(differences.compare(leaf, gradient))
    });
    Ok(Report {
        title: format!("gradients of `{}` against central differences", graph.name(output)),
        rows: rows.collect::<Result<_>>()?,
    })
}

/// Compares the value of `output`, its gradients with respect to every parameter and input, and the states after the
/// run on `backend` with those on [`Reference`].
///
/// # Errors
/// As [`check`]; also if the backend has not enough memory.
pub fn check_backend<B: Backend>(
    backend: B,
    graph: &Graph,
    output: NodeId,
    options: &GradcheckOptions,
) -> Result<Report> {
    let values = Values::draw(graph, output, options)?;
    let title = format!("`{}` and its gradients on {} against reference", graph.name(output), backend.name());
    let got = Outcome::of(backend, graph, output, options, &values)?;
    let want = Outcome::of(Reference, graph, output, options, &values)?;
    let compare = |kind, tensor: &str, shape, got: &[f64], want: &[f64]| {
        report::compare(kind, tensor, shape, [got, want], [options.backend_tolerance, options.backend_floor])
    };
    let mut rows = vec![compare("output", graph.name(output), graph.shape(output), &got.output, &want.output)];
    for (i, leaf) in values.leaves.iter().enumerate() {
        if let (Some(got), Some(want)) = (&got.gradients[i], &want.gradients[i]) {
            rows.push(compare(leaf.kind(), &leaf.name, leaf.shape, got, want));
        }
        if let (Some(got), Some(want)) = (&got.states[i], &want.states[i]) {
            rows.push(compare(leaf.kind(), &leaf.name, leaf.shape, got, want));
        }
    }
    Ok(Report { title, rows })
}

/// What a run of a gradient plan gives.
struct Outcome {
    output: Vec<f64>,
    /// The gradient of each leaf that has one.
    gradients: Vec<Option<Vec<f64>>>,
    /// Each leaf that is a state, after the run.
    states: Vec<Option<Vec<f64>>>,
}

impl Outcome {
    /// Runs the plan twice, so that what is wrongly left over from the first run shows in the second.
    fn of<B: Backend>(
        backend: B,
        graph: &Graph,
        output: NodeId,
        options: &GradcheckOptions,
        values: &Values,
    ) -> Result<Outcome> {
        let plan = Plan::gradients(graph, output, true, &options.plan)?;
        let mut session = Session::new(backend, vec![plan])?;
        let id = PlanId(0);
        session.write_cotangent(id, &convert::<f64, B::Element>(&values.cotangent))?;
        for leaf in &values.leaves {
            leaf.write(&mut session, &leaf.values)?;
        }
        session.run(id)?;
        session.run(id)?;
        let mut of_output = vec![B::Element::from_f64(0.0); graph.shape(output).len()];
        session.read(id, output, &mut of_output)?;
        let (mut gradients, mut states) = (Vec::new(), Vec::new());
        for leaf in &values.leaves {
            let (gradient, state) = match leaf.kind() {
                "parameter" => (Some(session.gradient(&leaf.name)?), None),
                "state" => (None, Some(session.tensor(&leaf.name)?)),
                _ => {
                    let mut gradient = vec![B::Element::from_f64(0.0); leaf.values.len()];
                    session.read_gradient(id, leaf.node, &mut gradient)?;
                    (Some(gradient), None)
                }
            };
            gradients.push(gradient.map(|gradient| convert(&gradient)));
            states.push(state.map(|state| convert(&state)));
        }
        Ok(Outcome { output: convert(&of_output), gradients, states })
    }
}

/// Numbers of one type as numbers of another.
fn convert<A: Element, B: Element>(values: &[A]) -> Vec<B> {
    values.iter().map(|x| B::from_f64(x.to_f64())).collect()
}

/// The plan that finite differences run: forward passes only.
fn objective_plan(graph: &Graph, output: NodeId) -> Result<Plan> {
    Plan::inference(graph, &[output], Statistics::Batch)
}
