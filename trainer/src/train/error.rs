//! Why a run fails or stops.

use super::backend::DeviceError;
use super::checkpoint::CheckpointError;
use super::folder::FolderError;
use super::plans::PlanError;
use crate::data::DataError;
use crate::settings::SettingsError;
use crate::system::files::FileError;
use crate::system::stop::Signal;
use crate::validation::ValidateError;
use std::path::{Path, PathBuf};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The settings are out of range, or differ from those of the run to resume.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be validated.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// The run's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The network or a plan of it cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A checkpoint, or the weights to begin with, cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A table lacks rows that were written before the checkpoint.
    #[error("{}: expected the rows of the checkpoint's first {expected} steps, got {got}", path.display())]
    Rows {
        /// The table.
        path: PathBuf,
        /// Number of rows before the checkpoint.
        expected: u64,
        /// Number of rows in the table.
        got: u64,
    },
    /// The run was on another device.
    #[error("cannot resume with another device: the run was started on {had}, now it is {got}")]
    OtherDevice {
        /// The checkpoint's backend.
        had: String,
        /// This one.
        got: String,
    },
    /// The ranks cannot train together.
    #[error(transparent)]
    Ranks(#[from] RankError),
    /// Training diverged.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// A signal stopped it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Signals cannot be caught.
    #[error("could not prepare for signals: {0}")]
    Signals(std::io::Error),
    /// A file could not be written while the run went on.
    #[error("{cause}; {}{}", last_checkpoint(checkpoint.as_deref()), how_to_resume(checkpoint.as_deref(), out))]
    Broken {
        /// What failed.
        cause: Box<TrainError>,
        /// The last checkpoint.
        checkpoint: Option<PathBuf>,
        /// The run's folder.
        out: PathBuf,
    },
}

/// The ranks cannot train together.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
    /// The training images are not all in memory.
    #[error("several processes train on images that are in memory, and these need more than --data-memory: raise it")]
    ImagesInFiles,
    /// A batch has fewer images than there are ranks.
    #[error(
        "{ranks} ranks cannot share a batch of {images} images: there must be at least one for each; the batch is {batch}, \
         and of {samples} samples the last batch gets what is left: choose other --batch and --samples, or fewer ranks"
    )]
    FewImages {
        /// Number of ranks.
        ranks: usize,
        /// Images of the smallest batch.
        images: u64,
        /// Images of the other batches.
        batch: usize,
        /// Images of the whole run.
        samples: u64,
    },
    /// A rank computes on another backend.
    #[error(
        "rank {rank} computes on {got}, rank 0 on {expected}: ranks that round in different ways do not keep the same weights; \
         choose the same with --device and, for instruction sets, KERNELS_ISA"
    )]
    OtherBackend {
        /// The first rank that differs from rank 0.
        rank: usize,
        /// Rank 0's backend.
        expected: String,
        /// The other.
        got: String,
    },
    /// The weights of a rank have become different.
    #[error(
        "after step {step}, rank {rank} has other weights than rank 0: a fault of its machine, or a bug; go on from the last checkpoint"
    )]
    OtherWeights {
        /// The first rank that differs from rank 0.
        rank: usize,
        /// Steps done.
        step: u64,
    },
}

/// The loss, a gradient or the optimizer's state became NaN or infinite.
#[derive(Debug, thiserror::Error)]
#[error("{}: try a lower --lr; {}", self.place(), last_checkpoint(checkpoint.as_deref()))]
pub struct NotFinite {
    /// What became NaN or infinite, as the start of a sentence.
    pub what: String,
    /// The step, counted from 1.
    pub step: u64,
    /// Images seen with it.
    pub samples: u64,
    /// The node that the first such value of the step came from. Boxed, as this error is the largest of them.
    pub origin: Option<Box<engine::NonFinite>>,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl NotFinite {
    /// What happened, and where.
    pub(super) fn place(&self) -> String {
        let NotFinite { what, step, samples, origin, .. } = self;
        let origin = origin.as_ref().map_or(String::new(), |origin| format!(", first {origin}"));
        format!("{what} at step {step} ({samples} images){origin}")
    }
}

/// The run was asked to stop, and can be resumed.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {signal} after step {step} ({samples} images); go on with `resconv train --resume --out {}`", out.display())]
pub struct Stopped {
    /// The signal.
    pub signal: Signal,
    /// Steps done.
    pub step: u64,
    /// Images seen.
    pub samples: u64,
    /// The run's folder, which has a checkpoint of this step.
    pub out: PathBuf,
}

fn last_checkpoint(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!("the last checkpoint is {}", path.display()),
        None => "there is no checkpoint yet".to_owned(),
    }
}

fn how_to_resume(checkpoint: Option<&Path>, out: &Path) -> String {
    checkpoint.map_or(String::new(), |_| format!("; go on with `resconv train --resume --out {}`", out.display()))
}

impl TrainError {
    /// Whether every rank of the run has this error, so that one message is enough.
    pub fn is_of_all_ranks(&self) -> bool {
        use RankError::{OtherBackend, OtherWeights};
        use TrainError::{NotFinite, Ranks, Stopped};
        matches!(self, NotFinite(_) | Stopped(_) | Ranks(OtherBackend { .. } | OtherWeights { .. }))
    }

    /// Adds what can be done about it to the error of a run that had begun, if a file was the reason.
    pub(super) fn of_begun_run(self, checkpoint: Option<&Path>, out: &Path) -> TrainError {
        match self {
            TrainError::File(_) | TrainError::Checkpoint(CheckpointError::File(_)) => TrainError::Broken {
                cause: Box::new(self),
                checkpoint: checkpoint.map(Path::to_owned),
                out: out.to_owned(),
            },
            other => other,
        }
    }
}
