//! [`Part`]: how a batch is divided among the ranks.

use std::ops::Range;

/// A rank's share of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// Images of the batch; at least one for each rank.
    pub batch: usize,
}

impl Part {
    /// The rank's images of the batch. Two ranks differ by one image at most.
    pub fn images(&self) -> Range<usize> {
        self.images_of(self.rank)
    }

    /// The images of any rank.
    fn images_of(&self, rank: usize) -> Range<usize> {
        let start = |rank: usize| rank * self.batch / self.ranks;
        start(rank)..start(rank + 1)
    }

    /// The rank's number of images, divided by that of the batch.
    pub fn share(&self) -> f64 {
        self.share_of(self.rank)
    }

    /// The same for any rank.
    pub(super) fn share_of(&self, rank: usize) -> f64 {
        self.images_of(rank).len() as f64 / self.batch as f64
    }
}
