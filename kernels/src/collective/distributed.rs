//! [`Distributed`]: how a backend sums over ranks.

use super::communicator::Communicator;
use super::operations::Collective;
use super::staged::Staged;
use crate::backend::Backend;
use std::sync::Arc;

/// A backend whose memory can be summed over ranks.
pub trait Distributed: Backend + Sized {
    /// The operations over the ranks of a communicator, in this backend's memory. All ranks must call it at the same
    /// time.
    ///
    /// # Errors
    /// [`CollectiveError`] if the ranks' devices cannot reach each other.
    fn collective(&self, communicator: Arc<dyn Communicator>) -> Result<Arc<dyn Collective<Self>>, CollectiveError> {
        Ok(Arc::new(Staged::new(communicator)))
    }
}

/// The ranks cannot sum on their devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ranks cannot sum on their GPUs: {0}")]
pub struct CollectiveError(
    /// Why not.
    pub String,
);
