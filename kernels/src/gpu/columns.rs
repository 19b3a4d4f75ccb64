//! How blocks walk a matrix of rows and channels.

use super::{Arg, BLOCK};

/// `Columns` in common.cuh. It depends only on the shape, so that sums have a fixed order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    rows: u32,
    channels: u32,
    lanes: u32,
    chunk_rows: u32,
    chunks: u32,
}

// SAFETY: `Columns` in common.cuh has the same fields.
unsafe impl Arg for Columns {}

impl Columns {
    /// For kernels whose threads take `rows_per_thread` rows.
    pub(crate) fn new(rows: usize, channels: usize, rows_per_thread: usize) -> Columns {
        let lanes = channels.next_power_of_two().min(32);
        let chunk_rows = rows_per_thread * (BLOCK / lanes);
        Columns {
            rows: rows as u32,
            channels: channels as u32,
            lanes: lanes as u32,
            chunk_rows: chunk_rows as u32,
            chunks: rows.div_ceil(chunk_rows) as u32,
        }
    }

    /// Number of chunks, over all channels.
    pub(crate) fn cells(&self) -> usize {
        self.channels as usize * self.chunks as usize
    }

    /// One block per chunk.
    pub(crate) fn grid(&self) -> [usize; 3] {
        [self.chunks as usize, self.channels.div_ceil(self.lanes) as usize, 1]
    }

    /// One warp per channel.
    pub(crate) fn grid_of_channels(&self) -> [usize; 3] {
        [(self.channels as usize).div_ceil(BLOCK / 32), 1, 1]
    }
}
