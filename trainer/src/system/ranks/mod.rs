//! The processes that compute a run together, one or several, and the messages between them other than sums.
//!
//! The *leader*, rank 0, reads settings, data and checkpoints and sends them to the other ranks. It alone validates,
//! writes files and shows the progress. All ranks take the same steps, each with its share of every batch.
//!
//! Several ranks are processes that `mpirun` started (feature `mpi`). A build without that feature refuses to be
//! started by `mpirun`: each of its processes would do the whole work, and write the same files.
//!
//! An error on one rank ends all of them: that rank prints it, and aborts the others. An error that all ranks find
//! ([`TrainError::is_of_all_ranks`](crate::train::TrainError::is_of_all_ranks)) is printed by the leader alone.

#[cfg(feature = "mpi")]
mod mpi;

#[cfg(feature = "mpi")]
pub use mpi::MpiError;

use super::terminal::print_error;
use engine::collective::{Alone, Collective, CollectiveError, Communicator};
use engine::{Distributed, Part};
use std::env;
use std::fmt;
use std::panic;
use std::sync::Arc;

/// The processes of a run, of which this is one.
#[derive(Clone)]
pub struct Ranks {
    communicator: Arc<dyn Communicator>,
}

/// The processes cannot be the ranks of a run.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// This build has no MPI to reach the others with.
    #[error(
        "this is one of {} processes that mpirun or srun started (it has number {rank}, by {variable}), but resconv was \
         built without MPI: build it with `cargo build --release --features mpi`, or start it alone, without {variable}",
        ranks.map_or("several".to_owned(), |ranks| ranks.to_string())
    )]
    NotBuilt {
        /// Its number, from 0.
        rank: usize,
        /// How many there are, if that is known.
        ranks: Option<usize>,
        /// The variable that has its number.
        variable: &'static str,
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

/// What a program such as `mpirun` says of this process.
#[cfg_attr(feature = "mpi", expect(dead_code, reason = "MPI itself knows"))]
struct Launched {
    /// Its number, from 0.
    rank: usize,
    /// The number of processes, if it is known.
    ranks: Option<usize>,
    /// The variable that has `rank`.
    variable: &'static str,
}

/// The variables for the number of a process, and for how many there are: those of Open MPI, of MPICH and its
/// relatives, and of PMIx, which `srun --mpi=pmix` sets. (Slurm's own variables say nothing: a batch script that starts
/// one process has them, too.)
const LAUNCHERS: [[&str; 2]; 3] =
    [["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"], ["PMI_RANK", "PMI_SIZE"], ["PMIX_RANK", "PMIX_SIZE"]];

fn launched() -> Option<Launched> {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let of =
        |[rank, ranks]: [&'static str; 2]| Some(Launched { rank: number(rank)?, ranks: number(ranks), variable: rank });
    LAUNCHERS.into_iter().find_map(of)
}

impl Ranks {
    /// The processes that `mpirun` started with this one, or this one alone. Call it once.
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
    fn connect(_: Launched) -> Result<Ranks, RanksError> {
        Ok(Ranks::new(Arc::new(mpi::Mpi::start()?)))
    }

    #[cfg(not(feature = "mpi"))]
    fn connect(launched: Launched) -> Result<Ranks, RanksError> {
        let Launched { rank, ranks, variable } = launched;
        // Where it is not known how many there are, the first one may be alone; no other is.
        let alone = ranks.map_or(rank == 0, |ranks| ranks <= 1);
        if alone { Ok(Ranks::default()) } else { Err(RanksError::NotBuilt { rank, ranks, variable }) }
    }

    /// The ranks of a communicator.
    #[cfg(any(feature = "mpi", test))]
    pub(crate) fn new(communicator: Arc<dyn Communicator>) -> Ranks {
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

    /// Number of this rank among those on the same machine, which is that of its GPU.
    pub fn local_rank(&self) -> usize {
        self.communicator.local_rank()
    }

    /// The share of a batch that this rank has, if there are others.
    pub fn part(&self, batch: usize) -> Option<Part> {
        (self.count() > 1).then(|| Part { rank: self.rank(), ranks: self.count(), batch })
    }

    /// What a session sums over these ranks with.
    ///
    /// # Errors
    /// If there are several, and their devices cannot reach each other.
    pub(crate) fn collective<B: Distributed>(&self, backend: &B) -> Result<Arc<dyn Collective<B>>, CollectiveError> {
        match self.count() {
            1 => Ok(Arc::new(Alone)),
            _ => backend.collective(Arc::clone(&self.communicator)),
        }
    }

    /// Sends the bytes of the leader to every rank, and returns them. What the others pass is ignored.
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

    /// What every rank passes, in the order of the ranks.
    pub(crate) fn gather<const N: usize>(&self, own: [u8; N]) -> Vec<[u8; N]> {
        let mut all = vec![[0; N]; self.count()];
        self.communicator.all_gather(&own, all.as_flattened_mut());
        all
    }

    /// From now on, a panic on this rank ends the others, which would wait for it.
    pub fn abort_on_panic(&self) {
        // MPI ends when its last owner is dropped, and the hook is never dropped.
        let (communicator, name) = (Arc::downgrade(&self.communicator), self.to_string());
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            report(panic);
            if let Some(communicator) = communicator.upgrade() {
                print_error(&format!("error: {name} panicked"));
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
