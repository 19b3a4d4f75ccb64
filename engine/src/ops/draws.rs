//! Which random numbers a node draws.

use crate::emit::Emitter;
use crate::graph::Graph;
use kernels::random::Draws;

/// The number that tells the random numbers of a new node of this kind from those of the nodes of this kind before it.
pub(super) fn number(graph: &Graph, kind: &str) -> u64 {
    graph.ids().filter(|&id| graph.get(id).op.kind() == kind).count() as u64
}

/// The random numbers of a stream for the elements of the first argument. One of several ranks draws for its images
/// what a single rank would draw for them.
pub(super) fn draws(cx: &Emitter<'_>, stream: u64) -> Draws {
    let x = cx.shape(0);
    let before = cx.part().map_or(0, |part| part.images().start);
    Draws { stream, first: (before * (x.len() / x.dims()[0])) as u64 }
}
