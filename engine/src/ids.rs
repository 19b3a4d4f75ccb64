//! Names of nodes and plans.

/// Names a node of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Index of the node in the order of recording.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names a plan of a [`Session`](crate::Session) by its index in the list passed to
/// [`Session::new`](crate::Session::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub usize);
