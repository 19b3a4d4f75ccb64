//! The regions of a session's memory.

use crate::plan::arena::align;
use crate::{Graph, TensorInfo};
use kernels::{Region, Span};

/// Trained values, all of them, one behind the other. Gradients and moments have the same layout.
pub(crate) const PARAMETERS: Region = Region(0);
/// Gradients of the loss with respect to the parameters.
pub(crate) const GRADIENTS: Region = Region(1);
/// First moments of the optimizer.
pub(crate) const FIRST_MOMENTS: Region = Region(2);
/// Second moments of the optimizer.
pub(crate) const SECOND_MOMENTS: Region = Region(3);
/// States, one behind the other.
pub(crate) const STATES: Region = Region(4);
/// Inputs, cotangents and scalar outputs of every plan, which outlive its runs.
pub(crate) const INPUTS: Region = Region(5);
/// All other values; shared by the plans.
pub(crate) const ARENA: Region = Region(6);
/// Scratch of the pass that is running.
pub(crate) const WORKSPACE: Region = Region(7);
/// Copy of the states, from before a step that may have to be undone.
pub(crate) const KEPT_STATES: Region = Region(8);
/// Whether steps have failed, and their losses.
pub(crate) const FLAGS: Region = Region(9);

/// Where the parameters and states of a graph lie. Every one begins at a cache line; the elements between them stay 0.
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
}
