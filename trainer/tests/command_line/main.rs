//! The binary `resconv` as its users meet it.

mod certificates;
mod checks;
mod common;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "mpi")]
mod distributed;
mod errors;
mod export;
mod faults;
mod outputs;
mod pictures;
mod printing;
mod report;
mod restore;
mod resume;
#[cfg(unix)]
mod served;
mod shared_sweep;
#[cfg(unix)]
mod signals;
mod steering;
mod stopping;
mod sweep;
mod train;
mod weights;
