//! Sums of the pixels of an image that the taps of a kernel meet.

use super::norm_conv::NormConvBackward;
use crate::host::Cpu;
use crate::ops::batch_norm::cpu::add_up;
use crate::ops::conv2d::ConvPasses;
use crate::ops::conv2d::cpu::share as share_of;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// Shares that the images are divided into, for the threads.
const SHARES: usize = 8;

/// Channels that are summed at once.
const CHUNK: usize = 16;

/// One dimension of an image, cut where the range of pixels that a tap meets may begin or end: single rows before and
/// after all others, which are one piece.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    /// Rows before and after the piece in the middle.
    edges: [usize; 2],
}

impl Axis {
    /// Given the rows that each tap meets.
    fn new(size: usize, taps: impl Iterator<Item = Range<usize>>) -> Axis {
        let mut edges = [0, 0];
        for rows in taps {
            edges = [edges[0].max(rows.start), edges[1].max(size - rows.end)];
        }
        // In an image that is smaller than the kernel, all rows are single.
        Axis { size, edges: [edges[0], edges[1].min(size - edges[0])] }
    }

    fn pieces(&self) -> usize {
        self.edges[0] + 1 + self.edges[1]
    }

    /// The piece that is no single row; it may be empty.
    fn middle(&self) -> usize {
        self.edges[0]
    }

    /// The rows of a piece.
    fn rows(&self, piece: usize) -> Range<usize> {
        let [before, after] = self.edges;
        match piece {
            _ if piece < before => piece..piece + 1,
            _ if piece == before => before..self.size - after,
            _ => self.size - after + piece - before - 1..self.size - after + piece - before,
        }
    }

    /// The pieces of rows that a tap meets.
    fn pieces_of(&self, rows: &Range<usize>) -> Range<usize> {
        let [before, after] = self.edges;
        let end = rows.end.checked_sub(self.size - after).map_or(rows.end, |beyond| before + 1 + beyond);
        rows.start..end.max(rows.start)
    }
}

/// The rows of `dz` that tap `tap` meets with a row of `x`, which is padded by `pad` rows. Empty ranges begin and end
/// inside.
fn rows_of_tap(transposed: bool, [x, dz]: [usize; 2], pad: usize, tap: usize) -> Range<usize> {
    // Row `p` of a convolution's output meets row `p + tap - pad` of its input; rows of a transposed one's are those of
    // the input of the convolution that it is the adjoint of.
    let (start, end) = match transposed {
        false => (pad.saturating_sub(tap), (x + pad).saturating_sub(tap)),
        true => (tap.saturating_sub(pad), (x + tap).saturating_sub(pad)),
    };
    let end = end.min(dz);
    start.min(end)..end
}

/// How the sums over the pixels of `dz` that each tap meets are taken: of pieces of the image, first.
#[derive(Clone, Copy)]
pub(super) struct TapSums {
    transposed: bool,
    images: usize,
    /// Sizes of `x` and `dz`, padding and taps of both dimensions.
    sizes: [[usize; 2]; 2],
    pad: [usize; 2],
    taps: [usize; 2],
    axes: [Axis; 2],
    channels: usize,
}

impl TapSums {
    /// For a convolution of stride 1.
    pub(super) fn new(norm_conv: &NormConvBackward) -> TapSums {
        let ConvPasses { params: p, transposed } = norm_conv.conv;
        let [x, dz] = norm_conv.conv.sizes();
        let (sizes, pad, taps) = ([0, 1].map(|dim| [x[dim], dz[dim]]), [p.pad_h, p.pad_w], [p.r, p.s]);
        let axes = [0, 1].map(|dim| {
            let rows = |tap| rows_of_tap(transposed, sizes[dim], pad[dim], tap);
            Axis::new(dz[dim], (0..taps[dim]).map(rows))
        });
        TapSums { transposed, images: p.n, sizes, pad, taps, axes, channels: if transposed { p.c } else { p.k } }
    }

    fn shares(&self) -> usize {
        SHARES.min(self.images)
    }

    /// Sums of all pieces.
    fn pieces_len(&self) -> usize {
        self.axes[0].pieces() * self.axes[1].pieces() * self.channels
    }

    /// Elements of the result: `[taps, channels]`.
    pub(super) fn len(&self) -> usize {
        self.taps[0] * self.taps[1] * self.channels
    }

    /// Elements of the scratch.
    pub(super) fn scratch_len(&self) -> usize {
        self.shares() * self.pieces_len()
    }

    /// Writes the sums over the pixels of `dz` that each tap meets. `total` is the sum over all pixels, or empty: then
    /// all pixels are read, not only those at the edges.
    pub(super) fn compute(&self, cpu: &Cpu, dz: &[f32], total: &[f32], scratch: &mut [f64], out: &mut [f64]) {
        let (len, shares) = (self.pieces_len(), self.shares());
        let scratch = &mut scratch[..shares * len];
        let shared = SharedSlice::new(scratch);
        cpu.pool.for_each(shares, |share| {
            let images = share_of(self.images, shares, share);
            // SAFETY: every share has its own sums.
            let sums = unsafe { shared.slice(share * len, len) };
            cpu.isa.dispatch(Share { taps: self, images, dz, all: total.is_empty(), sums });
        });
        let sums = add_up(scratch, len, len);
        let [height, width] = self.axes;
        if !total.is_empty() {
            let middle = height.middle() * width.pieces() + width.middle();
            let is_empty = height.rows(height.middle()).is_empty() || width.rows(width.middle()).is_empty();
            for (c, total) in total.iter().enumerate() {
                let edges: f64 = sums.iter().skip(c).step_by(self.channels).sum();
                sums[middle * self.channels + c] = if is_empty { 0.0 } else { f64::from(*total) - edges };
            }
        }
        for (tap, out) in out.chunks_exact_mut(self.channels).enumerate() {
            out.fill(0.0);
            let [rows, columns] = [0, 1].map(|dim| {
                let tap = if dim == 0 { tap / self.taps[1] } else { tap % self.taps[1] };
                self.axes[dim].pieces_of(&rows_of_tap(self.transposed, self.sizes[dim], self.pad[dim], tap))
            });
            for piece in rows.flat_map(|row| columns.clone().map(move |column| row * width.pieces() + column)) {
                let sums = &sums[piece * self.channels..][..self.channels];
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// The sums of the pieces of some images; that of the middle only if `all` are wanted.
struct Share<'a> {
    taps: &'a TapSums,
    images: Range<usize>,
    dz: &'a [f32],
    all: bool,
    sums: &'a mut [f64],
}

impl Kernel for Share<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Share { taps, images, dz, all, sums } = self;
        let ([height, width], channels) = (taps.axes, taps.channels);
        sums.fill(0.0);
        for image in images {
            for piece in 0..height.pieces() * width.pieces() {
                let (row, column) = (piece / width.pieces(), piece % width.pieces());
                if !all && row == height.middle() && column == width.middle() {
                    continue;
                }
                let sums = &mut sums[piece * channels..][..channels];
                let (rows, columns) = (height.rows(row), width.rows(column));
                let pixels = rows.flat_map(|row| columns.clone().map(move |column| row * width.size + column));
                let pixels = pixels.map(|pixel| (image * height.size * width.size + pixel) * channels);
                let (chunks, rest) = sums.as_chunks_mut::<CHUNK>();
                let whole = chunks.len() * CHUNK;
                for (c, sums) in chunks.iter_mut().enumerate() {
                    // They stay in registers.
                    let mut chunk = *sums;
                    for pixel in pixels.clone() {
                        let values = &dz[pixel + c * CHUNK..][..CHUNK];
                        chunk.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
                    }
                    *sums = chunk;
                }
                if !rest.is_empty() {
                    for pixel in pixels {
                        let values = &dz[pixel + whole..];
                        rest.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, CHUNK, TapSums, rows_of_tap};
    use crate::Cpu;
    use crate::testing::normal;

    /// All pairs of an output's row and a tap that meet a row of the input, one by one.
    fn meets(transposed: bool, x: usize, dz: usize, pad: usize, tap: usize) -> Vec<usize> {
        let inside = |row: &usize| match transposed {
            false => (*row + tap).checked_sub(pad).is_some_and(|row| row < x),
            true => (*row + pad).checked_sub(tap).is_some_and(|row| row < x),
        };
        (0..dz).filter(inside).collect()
    }

    #[test]
    fn taps_meet_the_rows_that_they_should() {
        for (transposed, x, dz, pad, taps) in
            [(false, 6, 6, 1, 3), (false, 6, 4, 0, 3), (false, 3, 3, 3, 7), (true, 6, 6, 1, 3), (true, 4, 6, 0, 3)]
        {
            let rows = |tap| rows_of_tap(transposed, [x, dz], pad, tap);
            let axis = Axis::new(dz, (0..taps).map(rows));
            let pieces: Vec<usize> = (0..axis.pieces()).flat_map(|piece| axis.rows(piece)).collect();
            assert_eq!(pieces, (0..dz).collect::<Vec<_>>(), "pieces are all rows");
            for tap in 0..taps {
                let want = meets(transposed, x, dz, pad, tap);
                assert_eq!(rows(tap).collect::<Vec<_>>(), want, "tap {tap}");
                let of_pieces: Vec<usize> = axis.pieces_of(&rows(tap)).flat_map(|piece| axis.rows(piece)).collect();
                assert_eq!(of_pieces, want, "pieces of tap {tap}");
            }
        }
    }

    #[test]
    fn sums_are_exact_with_and_without_the_total() {
        let axis =
            |size: usize, pad: usize| Axis::new(size, (0..3).map(|tap| rows_of_tap(false, [size, size], pad, tap)));
        let (images, height, width) = (9, 5, 6);
        let cpu = Cpu::new(2).unwrap();
        // Fewer channels than a chunk, and a chunk and a rest.
        for channels in [3, CHUNK + 3] {
            let taps = TapSums {
                transposed: false,
                images,
                sizes: [[height; 2], [width; 2]],
                pad: [1; 2],
                taps: [3; 2],
                axes: [axis(height, 1), axis(width, 1)],
                channels,
            };
            let dz: Vec<f32> = normal(1, images * height * width * channels).iter().map(|x| x.round()).collect();
            let total: Vec<f32> = (0..channels).map(|c| dz.iter().skip(c).step_by(channels).sum()).collect();
            for total in [&total[..], &[]] {
                let (mut scratch, mut got) = (vec![f64::NAN; taps.scratch_len()], vec![f64::NAN; taps.len()]);
                taps.compute(&cpu, &dz, total, &mut scratch, &mut got);
                for (i, got) in got.iter().enumerate() {
                    let (tap, c) = (i / channels, i % channels);
                    let [rows, columns] =
                        [(height, tap / 3), (width, tap % 3)].map(|(size, tap)| meets(false, size, size, 1, tap));
                    let pixels = (0..images).flat_map(|n| rows.iter().map(move |row| n * height + row));
                    let pixels = pixels.flat_map(|row| columns.iter().map(move |column| row * width + column));
                    let want: f64 = pixels.map(|pixel| f64::from(dz[pixel * channels + c])).sum();
                    assert_eq!(*got, want, "tap {tap} channel {c} of {channels}");
                }
            }
        }
    }
}
