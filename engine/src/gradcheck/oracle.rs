//! [`Oracle`]: what a backend should compute, and how far its rounding may take it from that.

use super::adjoint::LinearSet;
use super::altered::Altered;
use super::options::GradcheckOptions;
use super::outcome::{Outcome, Runs};
use super::report::{Report, Row, Worst};
use super::rounding::{Errors, F32_UNIT, Rounding, unit_roundoff};
use super::values::Values;
use crate::ids::NodeId;
use crate::plan::Plan;
use crate::{Graph, Result, Shape};
use kernels::{Backend, Reference};

/// Number of outcomes with rounding errors.
const SAMPLES: usize = 8;

/// The results that backends should have for a graph: the value of a node, its gradients, and the states after a run,
/// as [`Reference`] computes them. Any number of backends can be compared with it.
///
/// How far rounding may take a backend from there, `Reference` finds out by running the plan eight more times, with
/// random errors as large as those of the backend. The expected error of an element is the root mean square of its
/// eight deviations, or that of all elements of its tensor if that is more. The error of the backend may be
/// [`backend_tolerance`](GradcheckOptions::backend_tolerance) times what is expected. (A bound of `lambda sqrt(n) u`
/// for the relative error of a product of `n` roundings is exceeded with a probability of `2 exp(-lambda^2 / 2)` at
/// most: Higham & Mary, 2019. The random errors have `lambda = 1`.)
pub struct Oracle<'a> {
    graph: &'a Graph,
    output: NodeId,
    options: &'a GradcheckOptions,
    values: Values,
    want: Outcome,
    /// Outcomes with rounding errors, for every list of errors so far. Algorithms of convolutions differ in theirs.
    rounded: Vec<(Vec<Errors>, Vec<Outcome>)>,
}

impl<'a> Oracle<'a> {
    /// Computes the results on [`Reference`].
    ///
    /// # Errors
    /// As [`check`](super::check).
    pub fn new(graph: &'a Graph, output: NodeId, options: &'a GradcheckOptions) -> Result<Oracle<'a>> {
        let values = Values::draw(graph, output, options)?;
        let want = Runs::new(Reference, graph, output, options, &values)?.outcome(&values)?;
        Ok(Oracle { graph, output, options, values, want, rounded: Vec::new() })
    }

    /// Compares the results of a backend, as [`check_backend`](super::check_backend) does, and checks the adjoint
    /// identity for sets of inputs and parameters, as [`check_adjoint`](super::check_adjoint) does.
    ///
    /// # Errors
    /// As these.
    pub fn check<B: Backend>(&mut self, backend: B, linear: &[Vec<NodeId>]) -> Result<[Report; 2]> {
        let sets = linear.iter().map(|set| LinearSet::new(self.graph, &self.values, set));
        let sets: Vec<LinearSet> = sets.collect::<Result<_>>()?;
        let (name, on) = (self.graph.name(self.output), backend.name());
        let mut runs = Runs::new(backend, self.graph, self.output, self.options, &self.values)?;
        let got = runs.outcome(&self.values)?;
        let rounded = self.rounded(runs.backend())?;
        // Errors of the first order are proportional to the unit.
        let unit = unit_roundoff::<B::Element>() / F32_UNIT;
        let row = |tensor: &str, kind, shape, of: &dyn Fn(&Outcome) -> Option<Vec<f64>>, want: Option<Vec<f64>>| {
            let of_rounded: Vec<Vec<f64>> = self.rounded[rounded].1.iter().filter_map(of).collect();
            let (got, exact) = (of(&got)?, of(&self.want)?);
            let (checked, tolerance) = (got.len(), self.options.backend_tolerance);
            let expected = expected_errors(&exact, &of_rounded).into_iter().map(|error| unit * error);
            let worst = worst(&got, &want.unwrap_or(exact), expected);
            Some(Row { tensor: tensor.to_owned(), kind, shape, checked, kinks: 0, worst, tolerance })
        };
        let shape = self.graph.shape(self.output);
        let mut results = Vec::from_iter(row(name, "output", shape, &|o| Some(o.output.clone()), None));
        for (i, leaf) in self.values.leaves.iter().enumerate() {
            results.extend(row(&leaf.name, leaf.kind(), leaf.shape, &|o| o.gradients[i].clone(), None));
            results.extend(row(&leaf.name, leaf.kind(), leaf.shape, &|o| o.states[i].clone(), None));
        }
        let identity = |set: &LinearSet| {
            let difference = |outcome: &Outcome| Some(vec![set.difference(&self.values, outcome)]);
            row(&set.name, "adjoint", Shape::from([1]), &difference, Some(vec![0.0]))
        };
        let identities = sets.iter().filter_map(identity).collect();
        Ok([
            Report { title: format!("`{name}` and its gradients on {on} against reference"), rows: results },
            Report { title: format!("adjoint identity of `{name}` on {on}"), rows: identities },
        ])
    }

    /// Index of the outcomes with rounding errors of this backend.
    fn rounded<B: Backend>(&mut self, backend: &B) -> Result<usize> {
        let plan = Plan::gradients(self.graph, self.output, true, &self.options.plan)?;
        let errors: Vec<Errors> = plan
            .program
            .steps
            .iter()
            .filter_map(|step| step.action.call())
            .flat_map(|call| {
                let mut call = call.clone();
                backend.prepare(&mut call);
                call.parts().iter().map(|part| Errors::of(part, backend.precision())).collect::<Vec<_>>()
            })
            .collect();
        if let Some(known) = self.rounded.iter().position(|(known, _)| *known == errors) {
            return Ok(known);
        }
        let rounding = Rounding::new(backend, self.options.seed);
        let mut runs = Runs::new(Altered(rounding), self.graph, self.output, self.options, &self.values)?;
        let outcomes = (0..SAMPLES).map(|_| runs.outcome(&self.values)).collect::<Result<_>>()?;
        self.rounded.push((errors, outcomes));
        Ok(self.rounded.len() - 1)
    }
}

/// The root mean square of the deviations of every element, or that of all elements if it is larger.
fn expected_errors(exact: &[f64], rounded: &[Vec<f64>]) -> Vec<f64> {
    let mean = |squares: &[f64]| squares.iter().sum::<f64>() / squares.len() as f64;
    let square = |i: usize| mean(&rounded.iter().map(|of| (of[i] - exact[i]).powi(2)).collect::<Vec<f64>>());
    let squares: Vec<f64> = (0..exact.len()).map(square).collect();
    let of_tensor = mean(&squares);
    squares.into_iter().map(|of_element| of_element.max(of_tensor).sqrt()).collect()
}

/// The element with the largest error, in multiples of what is expected.
fn worst(got: &[f64], want: &[f64], expected: impl Iterator<Item = f64>) -> Worst {
    let mut worst = Worst::default();
    for (i, ((&got, &want), expected)) in got.iter().zip(want).zip(expected).enumerate() {
        // The errors of numbers below the smallest normal one are absolute.
        worst.update(i, (got - want).abs() / (expected + f64::from(f32::MIN_POSITIVE)), got, want);
    }
    worst
}
