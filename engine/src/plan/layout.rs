//! [`Layout`]: where parameters and states lie.

use super::arena::align;
use crate::graph::{Graph, TensorInfo};
use crate::ids::NodeId;
use crate::regions::{PARAMETERS, STATES};
use kernels::Span;

/// Where the parameters and states of a graph lie. Each begins at a cache line; the elements between them stay 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// The place of every tensor, in the order of [`Graph::tensors`].
    pub(crate) spans: Vec<Span>,
    /// Length of the parameters' region.
    pub(crate) parameters: usize,
    /// Length of the states' region.
    pub(crate) states: usize,
}

impl Layout {
    pub(crate) fn of(graph: &Graph) -> Layout {
        let (mut parameters, mut states) = (0, 0);
        let mut place = |tensor: &TensorInfo| {
            let (region, end) = if tensor.trained { (PARAMETERS, &mut parameters) } else { (STATES, &mut states) };
            let span = Span::new(region, *end, tensor.shape.len());
            *end += align(span.len);
            span
        };
        let spans = graph.tensors().iter().map(&mut place).collect();
        Layout { spans, parameters, states }
    }

    /// Where a parameter or state lies.
    pub(crate) fn place(&self, graph: &Graph, node: NodeId) -> Span {
        let tensors = graph.tensors();
        let i = tensors.binary_search_by_key(&node, |tensor| tensor.node).expect("every parameter and state is listed");
        self.spans[i]
    }
}
