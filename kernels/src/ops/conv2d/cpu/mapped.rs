//! Copies of mapped operands, for an algorithm that cannot map values where it loads them: of all of an operand, or of
//! some rows.

use crate::host::Cpu;
use crate::loops::{Channelwise, Columns, map_channels};
use crate::ops::conv2d::affine::Mapped;
use crate::pass::Write;
use crate::simd::{MAX_LANES, Simd};
use std::ops::Range;

/// What the map makes of an operand, in the first elements of the workspace, and the rest of the workspace. An operand
/// that is not mapped is not copied, and takes nothing of the workspace.
pub(super) fn copy_mapped<'a>(
    cpu: &Cpu,
    channels: usize,
    operand: Mapped<&'a [f32]>,
    workspace: &'a mut [f32],
) -> (&'a [f32], &'a mut [f32]) {
    if operand.is_plain() || operand.values.is_empty() {
        return (operand.values, workspace);
    }
    let (copy, rest) = workspace.split_at_mut(operand.values.len());
    let columns = Columns::new(cpu, copy.len() / channels, channels);
    map_channels(cpu, columns, &operand, [Some(operand.values)], copy, Write::Set);
    (copy, rest)
}

impl Channelwise<1, 2> for Mapped<&[f32]> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, [scale, shift]: [&mut [f32]; 2]) {
        scale.copy_from_slice(&self.scale[channels.clone()]);
        shift.copy_from_slice(&self.shift[channels]);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x]: [S::F32; 1], [scale, shift]: [S::F32; 2]) -> S::F32 {
        s.mul_add(x, scale, shift)
    }
}

/// `out = scale x + shift` for rows as long as the map.
#[inline(always)]
pub(super) fn apply_map<S: Simd>(s: S, x: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) {
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
