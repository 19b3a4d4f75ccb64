//! [`Distributed`]: which sums over ranks a backend uses.

use super::communicator::Communicator;
use super::operations::Collective;
use super::staged::Staged;
use crate::backend::Backend;
use std::sync::Arc;

/// A backend that ranks can sum on.
pub trait Distributed: Backend + Sized {
    /// Sums over the ranks of a communicator, in this backend's memory. All ranks call it at the same time.
    ///
    /// # Errors
    /// [`CollectiveError`] if the ranks' devices cannot reach each other.
    fn collective(&self, communicator: Arc<dyn Communicator>) -> Result<Arc<dyn Collective<Self>>, CollectiveError> {
        Ok(Arc::new(Staged::new(communicator)))
    }
}

/// A device that the ranks cannot sum on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ranks cannot sum on their GPUs: {0}")]
pub struct CollectiveError(
    /// Why not.
    pub String,
);
