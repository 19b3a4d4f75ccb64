//! Outputs that no product is added to: their windows are outside the image, or between the strides of an adjoint.

use super::axis::Dimension;
use crate::parallel::{Pool, SharedSlice};
use crate::pass::Write;

/// Sets those pixels of `out`, which have so many channels, to the bias, or to 0 if that is empty; or adds it to them.
pub(super) fn set_unreached(
    pool: &Pool,
    dims: [Dimension; 2],
    channels: usize,
    bias: &[f32],
    out: &mut [f32],
    write: Write,
) {
    if dims.iter().all(|dim| dim.is_reached()) || (write == Write::Add && bias.is_empty()) {
        return;
    }
    let row_len = dims[1].outputs * channels;
    let rows = out.len() / row_len;
    let shared = SharedSlice::new(out);
    pool.for_each(rows, |row| {
        // SAFETY: every task has its own row.
        let out = unsafe { shared.slice(row * row_len, row_len) };
        let row_is_reached = dims[0].reaches(row % dims[0].outputs);
        for (column, pixel) in out.chunks_exact_mut(channels).enumerate() {
            if row_is_reached && dims[1].reaches(column) {
                continue;
            }
            match bias {
                [] => pixel.fill(0.0),
                _ => pixel.iter_mut().zip(bias).for_each(|(out, bias)| write.put(out, *bias)),
            }
        }
    });
}
