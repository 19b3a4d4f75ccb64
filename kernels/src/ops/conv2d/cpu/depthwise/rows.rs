//! Rows of an image as a strip reads them.

use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::mapped::apply_map;
use crate::simd::Simd;
use std::ops::Range;

/// Rows of `row_len` values of a batch's images, counted through the batch: where they are, or what the map makes of
/// them in `scratch`.
#[inline(always)]
pub(super) fn rows<'a, S: Simd>(
    s: S,
    batch: Mapped<&'a [f32]>,
    rows: Range<usize>,
    row_len: usize,
    scratch: &'a mut [f32],
) -> &'a [f32] {
    let values = &batch.values[rows.start * row_len..rows.end * row_len];
    if batch.is_plain() {
        return values;
    }
    let copy = &mut scratch[..values.len()];
    apply_map(s, values, batch.scale, batch.shift, copy);
    copy
}
