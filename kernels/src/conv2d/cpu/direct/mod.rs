//! Direct convolution: no matrix of patches, no product with an inserted zero; every shape.
//!
//! Forward pass and input gradient are both *correlations* ([`correlate`]): the input gradient of stride 1 is that of `dy`
//! with the reversed and transposed weight, and of stride `(u, v)` it is `u v` of them, one for each phase of the output
//! pixels ([`axis`]). The weight gradient is a sum of outer products over pixels ([`grad_weight()`]).
//!
//! All of them work on a *strip* of output rows at a time (and of columns, if the image is very wide). Its input is copied
//! into the thread's scratch with the zeros of the padding around it, one group's channels only, unless it can be read
//! where it is; an operand with an affine map is mapped in this copy. The copy costs some 5 % of a 3x3 layer of 32 channels, most of it the wait for memory that the products would
//! have had instead; it keeps bounds checks out of the loops, and makes the taps of a row contiguous for groups too.
//!
//! Measured with operands in the cache, 3x3, 32 to 32 channels at 32x32, as a fraction of the peak of fused multiply-adds:
//! forward and input gradient 0.90 with AVX2 and 0.93 with AVX-512, weight gradient 0.85 and 0.89.

mod axis;
mod correlate;
mod grad_weight;
mod outer;
mod pack;
mod tile;

pub(super) use correlate::{forward, forward_workspace_len, grad_input, grad_input_workspace_len};
pub(super) use grad_weight::{grad_weight, grad_weight_workspace_len};

use super::super::{Conv2dParams, Mapped};
use crate::memory::ALIGNMENT_BYTES;
use crate::simd::{Isa, Simd};
use axis::{Axis, Inputs};
use std::ops::Range;

/// Elements of a cache line, to which packed operands are aligned.
const LINE: usize = ALIGNMENT_BYTES / size_of::<f32>();

/// Output channels of a group that are too few to be lanes.
const MAX_NARROW: usize = 4;

/// Lanes of the widest vector.
const MAX_LANES: usize = 16;

/// Vectors of output channels in a tile.
const TILE_VECTORS: usize = 2;

/// Columns that a strip has at least, if the image has them.
const MIN_STRIP_COLUMNS: usize = 28;

/// A task of fewer operations is not worth starting.
const TASK_FLOPS: usize = 2_000_000;

/// Tasks that a pass is cut into at least, if it is large enough.
const MIN_TASKS: usize = 16;

/// The same convolution as one of single pixels in one row, if its windows are pixels, or are whole images: then outputs
/// fill tiles, whatever the image's size. A linear layer is such a convolution, of images of one pixel.
fn flattened(p: &Conv2dParams) -> Conv2dParams {
    let unpadded = [p.pad_h, p.pad_w] == [0; 2];
    if unpadded && [p.r, p.s, p.stride_h, p.stride_w] == [1; 4] {
        let pixels = p.n * p.h * p.w;
        Conv2dParams { n: 1, h: 1, w: pixels, p: 1, q: pixels, ..*p }
    } else if unpadded && [p.r, p.s] == [p.h, p.w] && p.groups == 1 {
        let c = p.h * p.w * p.c;
        Conv2dParams { n: 1, h: 1, w: p.n, c, p: 1, q: p.n, r: 1, s: 1, stride_h: 1, stride_w: 1, ..*p }
    } else {
        *p
    }
}

/// The instruction set for vectors of `channels`. Half-empty vectors of 16 cost as much as those of 8 or more.
fn isa_for(isa: Isa, channels: usize) -> Isa {
    if isa == Isa::Avx512 && channels <= Isa::Avx2.lanes() { Isa::Avx2 } else { isa }
}

/// Tasks that a pass of `flops` operations should have.
fn wanted_tasks(flops: usize) -> usize {
    (flops / TASK_FLOPS).clamp(1, MIN_TASKS)
}

/// How many strips of rows and of columns an image is cut into, so that none of them needs more than `max_len` elements as
/// `len(input pixels, output pixels)` tells; `axes` bound its outputs and taps.
fn strips(axes: &[Axis; 2], max_len: usize, len: impl Fn(usize, usize) -> usize) -> [usize; 2] {
    let fits = |rows, columns| len(axes[0].in_len(rows) * axes[1].in_len(columns), rows * columns) <= max_len;
    let mut columns = axes[1].count.max(1);
    while columns > MIN_STRIP_COLUMNS && !fits(1, columns) {
        columns = columns.div_ceil(2);
    }
    let mut rows = axes[0].count.max(1);
    while rows > 1 && !fits(rows, columns) {
        rows -= 1;
    }
    [axes[0].count.div_ceil(rows).max(1), axes[1].count.div_ceil(columns).max(1)]
}

/// The part of a workspace that begins at a cache line.
fn aligned(workspace: &mut [f32]) -> &mut [f32] {
    let skip = workspace.as_ptr().align_offset(ALIGNMENT_BYTES);
    assert!(skip < LINE);
    &mut workspace[skip..]
}

/// An image of a batch, as a strip reads it.
#[derive(Clone, Copy)]
struct Image<'a> {
    /// `[height, width, channels]`, and the map of its values. A [`flattened`] image has more channels than the map, which
    /// repeats.
    data: Mapped<'a, f32>,
    size: [usize; 2],
    channels: usize,
}

impl<'a> Image<'a> {
    fn new(batch: Mapped<'a, f32>, image: usize, size: [usize; 2], channels: usize) -> Image<'a> {
        let len = size[0] * size[1] * channels;
        let values = &batch.values[image * len..(image + 1) * len];
        Image { data: Mapped { values, ..batch }, size, channels }
    }

    /// The strip where it is, if all of it is inside the image, and its values are not mapped.
    fn strip(&self, [rows, columns]: [Inputs; 2], channels: Range<usize>) -> Option<Strip> {
        let is_whole = rows.is_inside(self.size[0]) && columns.is_inside(self.size[1]);
        (is_whole && self.data.is_plain()).then(|| {
            let first = rows.first as usize * self.size[1] + columns.first as usize;
            let start = &self.data.values[first * self.channels + channels.start..];
            Strip { start: start.as_ptr(), row: self.size[1] * self.channels, pixel: self.channels }
        })
    }

    /// Copies the channels of a strip to `out`, zeros where it is outside the image, and zeros behind the channels up to
    /// `pixel` elements a pixel.
    #[inline(always)]
    fn copy_strip<S: Simd>(
        &self,
        s: S,
        [rows, columns]: [Inputs; 2],
        channels: Range<usize>,
        pixel: usize,
        out: &mut [f32],
    ) -> Strip {
        let row_len = columns.len * pixel;
        let strip = |out: &[f32]| Strip { start: out.as_ptr(), row: row_len, pixel };
        if rows.len * columns.len == 0 {
            return strip(out);
        }
        let (inside_rows, inside) = (rows.inside(self.size[0]), columns.inside(self.size[1]));
        let (first, last) = (inside.start * pixel, inside.end * pixel);
        for (i, out) in out.chunks_exact_mut(row_len).take(rows.len).enumerate() {
            if !inside_rows.contains(&i) || inside.is_empty() {
                out.fill(0.0);
                continue;
            }
            let row = (rows.first + i as isize) as usize;
            let column = (columns.first + inside.start as isize) as usize;
            let x = &self.data.values[(row * self.size[1] + column) * self.channels..][..inside.len() * self.channels];
            out[..first].fill(0.0);
            out[last..].fill(0.0);
            let out = &mut out[first..last];
            let Mapped { scale, shift, .. } = self.data;
            if [pixel, channels.len()] == [self.channels; 2] {
                if self.data.is_plain() {
                    out.copy_from_slice(x);
                } else {
                    map_rows(s, x, scale, shift, out);
                }
                continue;
            }
            for (out, x) in out.chunks_exact_mut(pixel).zip(x.chunks_exact(self.channels)) {
                let (out, zeros) = out.split_at_mut(channels.len());
                let x = &x[channels.clone()];
                if self.data.is_plain() {
                    out.copy_from_slice(x);
                } else {
                    // Only whole images are flattened, so the map has these channels.
                    map_rows(s, x, &scale[channels.clone()], &shift[channels.clone()], out);
                }
                zeros.fill(0.0);
            }
        }
        strip(out)
    }
}

/// `out = scale x + shift` for rows as long as the map.
#[inline(always)]
fn map_rows<S: Simd>(s: S, x: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) {
    let channels = scale.len();
    assert!(x.len() == out.len() && shift.len() == channels);
    if S::LANES.is_multiple_of(channels) {
        // A vector is whole rows.
        let pattern = |map: &[f32]| {
            let mut pattern = [0.0; MAX_LANES];
            pattern.chunks_exact_mut(channels).for_each(|pattern| pattern.copy_from_slice(map));
            pattern
        };
        let (scale, shift) = (pattern(scale), pattern(shift));
        // SAFETY: the patterns are as long as the longest vector.
        let [scale, shift] = unsafe { [s.load(scale.as_ptr()), s.load(shift.as_ptr())] };
        for start in (0..x.len()).step_by(S::LANES) {
            let count = S::LANES.min(x.len() - start);
            // SAFETY: `start + count` is at most the length of both.
            unsafe {
                let x = s.load_partial(x.as_ptr().add(start), count);
                s.store_partial(out.as_mut_ptr().add(start), s.mul_add(x, scale, shift), count);
            }
        }
        return;
    }
    for (x, out) in x.chunks(channels).zip(out.chunks_mut(channels)) {
        for start in (0..x.len()).step_by(S::LANES) {
            let count = S::LANES.min(x.len() - start);
            // SAFETY: `start + count` is at most the length of the row, the map and the output.
            unsafe {
                let [x, scale, shift] = [x, scale, shift].map(
                    #[inline(always)]
                    |row| s.load_partial(row.as_ptr().add(start), count),
                );
                s.store_partial(out.as_mut_ptr().add(start), s.mul_add(x, scale, shift), count);
            }
        }
    }
}

/// Where a strip's values are: the channels of a pixel are contiguous.
#[derive(Clone, Copy)]
struct Strip {
    start: *const f32,
    /// From a row to the next.
    row: usize,
    /// From a pixel to the next.
    pixel: usize,
}

impl Strip {
    /// The part of the strip that begins at a row and a column.
    fn at(self, row: usize, column: usize) -> Strip {
        Strip { start: self.start.wrapping_add(row * self.row + column * self.pixel), ..self }
    }
}
