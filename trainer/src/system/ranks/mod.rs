//! The processes that compute a run together, one or several, and what they tell each other beside sums.
//!
//! The *leader*, rank 0, reads settings, data and checkpoints and sends them to the others; it alone validates, writes files and
//! tells how the run gets on. All take the same steps, each with its part of every batch.
//!
//! Several ranks are processes that `mpirun` started (feature `mpi`). A build without that feature refuses to be started so: its processes
//! would do the same work, and write the same files, each for itself.
//!
//! What goes wrong on one rank ends all of them: it says what, and aborts the others. What all ranks find wrong alike
//! ([`TrainError::is_of_all_ranks`](crate::train::TrainError::is_of_all_ranks)) the leader alone says.

#[cfg(feature = "mpi")]
mod mpi;

#[cfg(feature = "mpi")]
pub use mpi::MpiError;

use crate::train::device::Compute;
use engine::Part;
use engine::collective::{Alone, Collective, CollectiveError, Communicator};
use std::env;
use std::fmt;
use std::panic;
use std::sync::Arc;

/// The processes of a run, of which this is one.
#[derive(Clone)]
pub struct Ranks {
    communicator: Arc<dyn Communicator>,
}

/// The processes that were started cannot be the ranks of a run.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// This program cannot speak to the others.
    #[error(
        "this is one of {ranks} processes that mpirun started, but resconv was built without MPI: \
         build it with `cargo build --release --features mpi`, or start it without mpirun"
    )]
    NotBuilt {
        /// Its number, from 0.
        rank: usize,
        /// How many there are.
        ranks: usize,
    },
    /// MPI did not start.
    #[cfg(feature = "mpi")]
    #[error(transparent)]
    Mpi(#[from] MpiError),
}

/// This process alone.
impl Default for Ranks {
    fn default() -> Ranks {
        Ranks { communicator: Arc::new(Alone) }
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `rank 1 of 4`
impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.count())
    }
}

/// Which of how many processes this is, if something like `mpirun` started it: Open MPI's variables, then those of MPICH and its kin.
fn launched() -> Option<[usize; 2]> {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let of = |[rank, ranks]: [&str; 2]| Some([number(rank)?, number(ranks)?]);
    [["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"], ["PMI_RANK", "PMI_SIZE"]].into_iter().find_map(of)
}

impl Ranks {
    /// The processes that `mpirun` started with this one, or this one alone. To be called once.
    ///
    /// # Errors
    /// [`RanksError`] if there are others, and this build has no MPI, or MPI does not start.
    pub fn start() -> Result<Ranks, RanksError> {
        match launched() {
            None => Ok(Ranks::default()),
            Some(launched) => Ranks::connect(launched),
        }
    }

    #[cfg(feature = "mpi")]
    fn connect(_: [usize; 2]) -> Result<Ranks, RanksError> {
        Ok(Ranks::new(Arc::new(mpi::Mpi::start()?)))
    }

    #[cfg(not(feature = "mpi"))]
    fn connect([rank, ranks]: [usize; 2]) -> Result<Ranks, RanksError> {
        if ranks > 1 { Err(RanksError::NotBuilt { rank, ranks }) } else { Ok(Ranks::default()) }
    }

    /// The ranks of a communicator.
    pub fn new(communicator: Arc<dyn Communicator>) -> Ranks {
        Ranks { communicator }
    }

    /// Number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.communicator.rank()
    }

    /// Number of ranks.
    pub fn count(&self) -> usize {
        self.communicator.ranks()
    }

    /// Whether this rank is the one that reads and writes files.
    pub fn is_leader(&self) -> bool {
        self.rank() == 0
    }

    /// Number of this rank among those on the same machine: that of its GPU.
    pub fn local_rank(&self) -> usize {
        self.communicator.local_rank()
    }

    /// What this rank has of a batch, if there are others.
    pub fn part(&self, batch: usize) -> Option<Part> {
        (self.count() > 1).then(|| Part { rank: self.rank(), ranks: self.count(), batch })
    }

    /// The sums over these ranks that a session takes.
    ///
    /// # Errors
    /// If there are several, and their devices cannot reach each other.
    pub(crate) fn collective<B: Compute>(&self, backend: &B) -> Result<Arc<dyn Collective<B>>, CollectiveError> {
        match self.count() {
            1 => Ok(Arc::new(Alone)),
            _ => backend.collective(Arc::clone(&self.communicator)),
        }
    }

    /// What the leader gives, on every rank.
    pub(crate) fn broadcast(&self, leaders: Vec<u8>) -> Vec<u8> {
        if self.count() == 1 {
            return leaders;
        }
        let mut len = (leaders.len() as u64).to_le_bytes();
        self.communicator.broadcast(&mut len);
        let mut data = leaders;
        data.resize(u64::from_le_bytes(len) as usize, 0);
        self.communicator.broadcast(&mut data);
        data
    }

    /// What every rank gives, in their order.
    pub(crate) fn gather<const N: usize>(&self, own: [u8; N]) -> Vec<[u8; N]> {
        let mut all = vec![[0; N]; self.count()];
        self.communicator.all_gather(&own, all.as_flattened_mut());
        all
    }

    /// From now on, a panic on this rank ends the others, which would wait for it.
    pub fn abort_on_panic(&self) {
        // MPI ends when the last owner is dropped, and the hook never is
        let (communicator, name) = (Arc::downgrade(&self.communicator), self.to_string());
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            report(panic);
            if let Some(communicator) = communicator.upgrade() {
                eprintln!("error: {name} panicked");
                communicator.abort(101);
            }
        }));
    }

    /// Ends all ranks, if there are others.
    pub fn abort(&self, code: u8) {
        if self.count() > 1 {
            self.communicator.abort(code);
        }
    }
}
