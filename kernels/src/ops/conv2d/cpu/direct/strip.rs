//! The values that a strip reads: where they are in an image, or in a copy.

use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::axis::Inputs;
use crate::ops::conv2d::cpu::mapped::apply_map;
use crate::simd::Simd;
use std::ops::Range;

/// An image of a batch, as a strip reads it.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    /// `[height, width, channels]`, and the map of its values. A [flattened](Conv2dParams::flattened) image has more
    /// channels than the map, which repeats.
    data: Mapped<&'a [f32]>,
    size: [usize; 2],
    channels: usize,
}

impl<'a> Image<'a> {
    /// Image `image` of a batch of images `[height, width]`.
    pub(super) fn new(batch: Mapped<&'a [f32]>, image: usize, size: [usize; 2], channels: usize) -> Image<'a> {
        let len = size[0] * size[1] * channels;
        let values = &batch.values[image * len..(image + 1) * len];
        Image { data: Mapped { values, ..batch }, size, channels }
    }

    /// The strip where it is, if all of it is inside the image, and its values are not mapped.
    pub(super) fn strip(&self, [rows, columns]: [Inputs; 2], channels: Range<usize>) -> Option<Strip> {
        let is_whole = rows.is_inside(self.size[0]) && columns.is_inside(self.size[1]);
        (is_whole && self.data.is_plain()).then(|| {
            let first = rows.first as usize * self.size[1] + columns.first as usize;
            let start = &self.data.values[first * self.channels + channels.start..];
            Strip { start: start.as_ptr(), row: self.size[1] * self.channels, pixel: self.channels }
        })
    }

    /// Copies the channels of a strip to `out`, zeros where it is outside the image, and zeros behind the channels up
    /// to `pixel` elements a pixel.
    #[inline(always)]
    pub(super) fn copy_strip<S: Simd>(
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
                    apply_map(s, x, scale, shift, out);
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
                    apply_map(s, x, &scale[channels.clone()], &shift[channels.clone()], out);
                }
                zeros.fill(0.0);
            }
        }
        strip(out)
    }
}

/// Where a strip's values are: the channels of a pixel are contiguous.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub(super) start: *const f32,
    /// From a row to the next.
    pub(super) row: usize,
    /// From a pixel to the next.
    pub(super) pixel: usize,
}

impl Strip {
    /// What of the strip begins at a row and a column.
    pub(super) fn at(self, row: usize, column: usize) -> Strip {
        Strip { start: self.start.wrapping_add(row * self.row + column * self.pixel), ..self }
    }
}
