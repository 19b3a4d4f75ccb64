//! The checks against central differences, against another backend, and of the adjoint identity.

use super::differences::Differences;
use super::options::GradcheckOptions;
use super::oracle::Oracle;
use super::outcome::Runs;
use super::report::Report;
use super::values::Values;
use crate::ids::NodeId;
use crate::{Graph, Result};
use kernels::{Backend, Reference};

/// Compares the gradients of `output` with respect to every parameter and input with central differences, all on
/// [`Reference`].
///
/// # Errors
/// If the output is not of the graph or depends on nothing, or an input's values have the wrong length. Wrong gradients
/// are not an error here: see [`Report::passed`].
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
    let analytic = Runs::new(backend, graph, output, options, &values)?.outcome(&values)?;
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
/// run on `backend` with those on [`Reference`]. Errors are in multiples of those that its rounding is expected to
/// cause, as [`Oracle`] defines them, and may be [`backend_tolerance`](GradcheckOptions::backend_tolerance).
///
/// # Errors
/// As [`check`]; also if the backend does not have enough memory.
pub fn check_backend<B: Backend>(
    backend: B,
    graph: &Graph,
    output: NodeId,
    options: &GradcheckOptions,
) -> Result<Report> {
    let [results, _] = Oracle::new(graph, output, options)?.check(backend, &[])?;
    Ok(results)
}

/// Checks that `<c, y> = sum <x, dx>` over each set of inputs and parameters in which `y` is linear: `c` is the
/// cotangent, `dx` the gradient of `<c, y>` that the backend computes. For a convolution that is
/// `<c, conv(x, w)> = <x, grad_input(c, w)> = <w, grad_weight(x, c)>`.
///
/// The error is the difference, in multiples of what rounding is expected to cause, as [`Oracle`] defines it. The check
/// does not see faults that keep the identity, such as a wrong input that both passes agree on.
///
/// # Errors
/// As [`check`]; also if a node of a set is not an input or parameter that the output depends on.
pub fn check_adjoint<B: Backend>(
    backend: B,
    graph: &Graph,
    output: NodeId,
    linear: &[Vec<NodeId>],
    options: &GradcheckOptions,
) -> Result<Report> {
    let [_, identities] = Oracle::new(graph, output, options)?.check(backend, linear)?;
    Ok(identities)
}
