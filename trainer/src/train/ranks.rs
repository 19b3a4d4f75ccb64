//! What must hold of the ranks that train together.

use crate::settings::Settings;
use crate::system::ranks::Ranks;

/// The ranks cannot train together.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
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

/// Checks that each of the ranks has at least one image of every batch.
///
/// # Errors
/// [`RankError::FewImages`]
pub(super) fn check_batches(settings: &Settings, ranks: usize) -> Result<(), RankError> {
    let (batch, samples) = (settings.training.batch, settings.training.samples);
    let rest = samples % batch as u64;
    let images = if rest > 0 { rest } else { batch as u64 };
    if images < ranks as u64 { Err(RankError::FewImages { ranks, images, batch, samples }) } else { Ok(()) }
}

/// Longest name of a backend, in bytes.
const NAME_BYTES: usize = 64;

/// Checks that all ranks compute on the same backend; `own` is the name of this rank's.
///
/// # Errors
/// [`RankError::OtherBackend`], on every rank.
pub(super) fn check_backends(ranks: &Ranks, own: &str) -> Result<(), RankError> {
    let mut name = [0; NAME_BYTES];
    name.iter_mut().zip(own.bytes()).for_each(|(to, byte)| *to = byte);
    let names = ranks.gather(name);
    let text = |name: &[u8]| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    match names.iter().position(|name| *name != names[0]) {
        Some(rank) => Err(RankError::OtherBackend { rank, expected: text(&names[0]), got: text(&names[rank]) }),
        None => Ok(()),
    }
}
