//! Names of nodes and plans.

use std::sync::atomic::{AtomicU32, Ordering};

/// Tells the nodes of one graph from those of another. A clone of a graph has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GraphId(u32);

impl GraphId {
    /// One that no other graph of the process has.
    pub(crate) fn new() -> GraphId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        GraphId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Names a node of one [`Graph`](crate::Graph), or of a clone of it. Another graph refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    pub(crate) graph: GraphId,
    index: u32,
}

impl NodeId {
    pub(crate) fn new(graph: GraphId, index: usize) -> NodeId {
        NodeId { graph, index: index as u32 }
    }

    /// Index of the node in the order of recording.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Names a plan of a [`Session`](crate::Session) by its index in the list passed to
/// [`Session::new`](crate::Session::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub usize);
