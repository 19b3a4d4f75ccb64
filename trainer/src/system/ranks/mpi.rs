//! Ranks that are processes, started by `mpirun`.

use engine::collective::Communicator;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};

/// Bytes of one message, whose length MPI counts with 31 bits.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// The processes that `mpirun` started with this one.
///
/// If one of them ends without ending MPI, for example by a signal, `mpirun` ends the others. Failures of communication
/// are fatal. Dropping this waits until all processes have dropped theirs.
pub(super) struct Mpi {
    rank: usize,
    ranks: usize,
    local_rank: usize,
    _universe: Universe,
}

/// MPI cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MpiError {
    /// It was started before: it can be started once in a process.
    #[error("MPI has been started before in this process")]
    StartedBefore,
    /// It does not support calls from the threads of a pool, which sessions make.
    #[error(
        "this MPI library can be called from the first thread of a process only: it offers {0:?}, and `Serialized` is needed"
    )]
    Threads(Threading),
}

impl Mpi {
    /// Starts MPI.
    ///
    /// # Errors
    /// [`MpiError`] if it has been started before, or is built without support of threads.
    pub(super) fn start() -> Result<Mpi, MpiError> {
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = started.ok_or(MpiError::StartedBefore)?;
        if threading < Threading::Serialized {
            return Err(MpiError::Threads(threading));
        }
        let world = universe.world();
        let local_rank = world.split_shared(world.rank()).rank() as usize;
        Ok(Mpi { rank: world.rank() as usize, ranks: world.size() as usize, local_rank, _universe: universe })
    }
}

/// All processes.
fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn all_gather(&self, from: &[u8], to: &mut [u8]) {
        assert!(to.len() == self.ranks * from.len() && to.len() <= MAX_MESSAGE_BYTES, "{} bytes each", from.len());
        world().all_gather_into(from, to);
    }

    fn all_to_all(&self, from: &[u8], to: &mut [u8]) {
        let is_whole = from.len().is_multiple_of(self.ranks);
        assert!(is_whole && to.len() == from.len() && to.len() <= MAX_MESSAGE_BYTES, "{} bytes in all", from.len());
        world().all_to_all_into(from, to);
    }

    fn broadcast(&self, data: &mut [u8]) {
        for message in data.chunks_mut(MAX_MESSAGE_BYTES) {
            world().process_at_rank(0).broadcast_into(message);
        }
    }

    fn abort(&self, code: u8) -> ! {
        world().abort(code.into())
    }
}
