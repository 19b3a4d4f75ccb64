//! Outputs that no product is added to: their windows are outside the image, or between the strides of an adjoint.

use super::axis::Dimension;
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;
use std::ops::Range;

/// Sets those pixels of `out`, which have so many channels, to the bias, or to 0 if that is empty; or adds it to them.
pub(super) fn set_unreached(
    cpu: &Cpu,
    dims: [Dimension; 2],
    channels: usize,
    bias: &[f32],
    out: &mut [f32],
    write: Write,
) {
    if dims.iter().all(|dim| dim.is_reached()) || (write == Write::Add && bias.is_empty()) {
        return;
    }
    let columns = unreached_runs(dims[1]);
    let row_len = dims[1].outputs * channels;
    for_rows(cpu, out, row_len, row_len, |rows, out| {
        for (row, out) in rows.zip(out.chunks_exact_mut(row_len)) {
            if dims[0].reaches(row % dims[0].outputs) {
                for run in &columns {
                    put(&mut out[run.start * channels..run.end * channels], bias, write);
                }
            } else {
                put(out, bias, write);
            }
        }
    });
}

/// The outputs of no axis, as runs of neighbours.
fn unreached_runs(dim: Dimension) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for output in (0..dim.outputs).filter(|output| !dim.reaches(*output)) {
        match runs.last_mut().filter(|run| run.end == output) {
            Some(run) => run.end += 1,
            None => runs.push(output..output + 1),
        }
    }
    runs
}

/// Sets some pixels to the bias, or to 0 if that is empty; or adds it to them.
fn put(pixels: &mut [f32], bias: &[f32], write: Write) {
    match bias {
        [] => pixels.fill(0.0),
        _ => {
            for pixel in pixels.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(bias).for_each(|(out, bias)| write.put(out, *bias));
            }
        }
    }
}
