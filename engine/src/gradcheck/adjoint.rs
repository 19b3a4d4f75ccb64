//! Checks that forward and backward passes are adjoint to each other.

use super::options::GradcheckOptions;
use super::outcome::Outcome;
use super::report::{Report, Row, Worst};
use super::values::Values;
use crate::ids::NodeId;
use crate::{Error, Graph, Result};
use kernels::Backend;

/// Checks that `<c, y> = sum <x, dx>` over each set of inputs and parameters in which `y` is linear: `c` is the
/// cotangent, `dx` the gradient of `<c, y>` that the backend computes. For a convolution that is
/// `<c, conv(x, w)> = <x, grad_input(c, w)> = <w, grad_weight(x, c)>`.
///
/// The error is relative to the sum of the magnitudes of all terms, and may be
/// [`backend_tolerance`](GradcheckOptions::backend_tolerance). The check needs no second implementation, but does not
/// see faults that keep the identity, such as a wrong input that both passes agree on.
///
/// # Errors
/// As [`check`](super::check); also if a node of a set is not an input or parameter that the output depends on.
pub fn check_adjoint<B: Backend>(
    backend: B,
    graph: &Graph,
    output: NodeId,
    linear: &[Vec<NodeId>],
    options: &GradcheckOptions,
) -> Result<Report> {
    let values = Values::draw(graph, output, options)?;
    let title = format!("adjoint identity of `{}` on {}", graph.name(output), backend.name());
    let outcome = Outcome::of(backend, graph, output, options, &values)?;
    let forward = Dot::of(&values.cotangent, &outcome.output);
    let mut rows = Vec::new();
    for set in linear {
        let mut backward = Dot::default();
        for &node in set {
            graph.check(node)?;
            let mut leaves = values.leaves.iter().zip(&outcome.gradients).filter(|(leaf, _)| leaf.node == node);
            let Some((leaf, Some(gradient))) = leaves.next() else {
                return Err(Error::NotDifferentiated { node: graph.name(node).to_owned() });
            };
            backward.add(&Dot::of(&leaf.values, gradient));
        }
        let scale = forward.magnitude.max(backward.magnitude).max(f64::MIN_POSITIVE);
        let mut worst = Worst::default();
        worst.update(0, (backward.sum - forward.sum).abs() / scale, backward.sum, forward.sum);
        rows.push(Row {
            tensor: set.iter().map(|&node| graph.name(node)).collect::<Vec<_>>().join(", "),
            kind: "adjoint",
            shape: [1].into(),
            checked: 1,
            kinks: 0,
            allowed_kinks: 0,
            worst,
            tolerance: options.backend_tolerance,
        });
    }
    Ok(Report { title, rows })
}

/// A scalar product, and the sum of the magnitudes of its terms.
#[derive(Default)]
struct Dot {
    sum: f64,
    magnitude: f64,
}

impl Dot {
    fn of(a: &[f64], b: &[f64]) -> Dot {
        let mut dot = Dot::default();
        for term in a.iter().zip(b).map(|(a, b)| a * b) {
            dot.sum += term;
            dot.magnitude += term.abs();
        }
        dot
    }

    fn add(&mut self, other: &Dot) {
        self.sum += other.sum;
        self.magnitude += other.magnitude;
    }
}
