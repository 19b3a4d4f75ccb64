//! Names of nodes and plans.

/// Names a node of a [`Graph`](crate::Graph).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Place of the node in the order of recording.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names a plan of a [`Session`](crate::Session) by its place in the list that [`Session::new`](crate::Session::new)
/// was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub usize);
