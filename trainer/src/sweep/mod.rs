//! Sweeps: many runs of settings that differ, by one command that can be repeated until all are done.
//!
//! A sweep file is a matrix of settings over a base, all by their names in `resconv train`:
//!
//! ```toml
//! title = "Depth and learning rate"
//! reference = "published.csv"       # see `published`; the path is relative to this file
//! seeds = [0, 1, 2]                 # every setting is run with each of them
//! [base]
//! samples = 60000
//! [matrix]
//! layers = [1, 3, 5]
//! lr = [1e-3, 3e-4]
//! ```
//!
//! On the command line, the values of a list are separated by commas: `--layers 1,3,5`. What has commas itself stands
//! in brackets, as in a file: `channels = [8, "16:64", [16, 32, 64]]` is `--channels 8,16:64,[16,32,64]`.
//!
//! Every run has its folder in the folder of the sweep, named after its values. The sweep's own files are `sweep.json`,
//! which has the status of each run, and the report.
//!
//! Several processes may work on a sweep, on one machine or on several that share its folder. Each does the first run
//! that nobody has ([`lock`](crate::system::lock)), and goes on with that of a process that was killed. What the runs
//! share is made anew from their folders, by one process at a time.

mod error;
mod file;
mod flags;
mod queue;
mod run;
mod shard;
mod state;

pub use error::SweepError;
pub use file::{PlannedRun, Sweep};
pub use flags::ListFlags;
pub use run::{dry_run, sweep};
pub use shard::{NoShard, Shard};
pub use state::status;
pub(crate) use state::{RunEntry, State, Status};
