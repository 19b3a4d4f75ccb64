//! [`Communicator`]: how bytes get from rank to rank.

/// Moves bytes between ranks. All ranks call the same methods in the same order. A method returns when this rank has
/// received what it waits for.
///
/// No method returns an error: a rank that dies or cannot communicate ends the others.
pub trait Communicator: Send + Sync {
    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn ranks(&self) -> usize;

    /// Number of this rank among those on the same machine, from 0.
    fn local_rank(&self) -> usize;

    /// Whether ranks are threads of one process. Then none may wait for another inside a thread pool
    /// ([`Backend::enter`](crate::Backend::enter)): the other may need the same pool's threads.
    fn shares_process(&self) -> bool {
        false
    }

    /// Gathers the `from` of every rank in `to`, in the order of the ranks. It has the same length on every rank.
    ///
    /// # Panics
    /// If `to` is not `ranks` times as long as `from`.
    fn all_gather(&self, from: &[u8], to: &mut [u8]);

    /// Sends each rank its piece of `from`, and writes the pieces that this rank receives to `to`, in the order of the
    /// ranks. `from` has one piece per rank, all of equal length.
    ///
    /// # Panics
    /// If the lengths differ, or are not a multiple of the number of ranks.
    fn all_to_all(&self, from: &[u8], to: &mut [u8]);

    /// Overwrites `data` with that of rank 0. It has the same length on every rank.
    fn broadcast(&self, data: &mut [u8]);

    /// Ends every rank; its process exits with `code`.
    fn abort(&self, code: u8) -> !;
}

/// Asserts the lengths of [`Communicator::all_gather`].
pub(super) fn check_all_gather(ranks: usize, from: &[u8], to: &[u8]) {
    assert_eq!(to.len(), ranks * from.len(), "bytes of {ranks} ranks that give {} each", from.len());
}

/// Asserts the lengths of [`Communicator::all_to_all`].
pub(super) fn check_all_to_all(ranks: usize, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "bytes sent and received");
    assert!(from.len().is_multiple_of(ranks), "{} bytes in {ranks} equal pieces", from.len());
}
