//! The checks against central differences, and against another backend.

use super::differences::Differences;
use super::options::GradcheckOptions;
use super::outcome::Outcome;
use super::report::{self, Report};
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
/// As [`check`]; also if the backend does not have enough memory.
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
