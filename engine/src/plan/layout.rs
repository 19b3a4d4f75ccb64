//! [`Layout`]: where parameters and states lie.

use super::arena::align;
use crate::graph::{Graph, Group, TensorInfo};
use crate::ids::NodeId;
use crate::regions::{NORM, PARAMETERS, STATES};
use kernels::clip_norm::Norm;
use kernels::{Region, Span};

/// Where the parameters and states of a graph lie. Each begins at a cache line; the elements between them stay 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    /// The place of every tensor, in the order of [`Graph::tensors`].
    pub(crate) spans: Vec<Span>,
    /// The groups of parameters that are trained, and where they lie: one after another, from the region's beginning.
    pub(crate) groups: Vec<(Group, Span)>,
    /// Length of all groups, and of the regions of gradients and optimizer state. Frozen parameters come after them.
    pub(crate) trained: usize,
    /// Length of the parameters' region.
    pub(crate) parameters: usize,
    /// Length of the states' region.
    pub(crate) states: usize,
}

impl Layout {
    pub(crate) fn of(graph: &Graph) -> Layout {
        let tensors = graph.tensors();
        let mut spans = vec![Span::EMPTY; tensors.len()];
        // Places the chosen tensors one after another, and returns where they end.
        let mut place = |region: Region, mut end: usize, chosen: &dyn Fn(&TensorInfo) -> bool| {
            for (span, tensor) in spans.iter_mut().zip(tensors).filter(|(_, tensor)| chosen(tensor)) {
                *span = Span::new(region, end, tensor.shape.len());
                end += align(span.len);
            }
            end
        };
        let (mut groups, mut trained) = (Vec::<(Group, Span)>::new(), 0);
        for group in tensors.iter().filter(|tensor| tensor.trained).filter_map(|tensor| tensor.group) {
            if !groups.iter().any(|(other, _)| *other == group) {
                let begin = trained;
                trained = place(PARAMETERS, begin, &|tensor| tensor.group == Some(group));
                groups.push((group, Span::new(PARAMETERS, begin, trained - begin)));
            }
        }
        let parameters = place(PARAMETERS, trained, &|tensor| tensor.group.is_some() && !tensor.trained);
        let states = place(STATES, 0, &|tensor| tensor.group.is_none());
        Layout { spans, groups, trained, parameters, states }
    }

    /// The pass that takes the norm of all gradients in a region.
    pub(crate) fn norm(&self, gradients: Region) -> Norm {
        Norm { x: Span::new(gradients, 0, self.trained), norm: NORM }
    }

    /// Where a parameter or state lies.
    pub(crate) fn place(&self, graph: &Graph, node: NodeId) -> Span {
        self.spans[graph.tensor_index(node)]
    }
}
