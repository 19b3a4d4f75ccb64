//! Copies of mapped operands, for an algorithm that cannot map values where it loads them.

use crate::host::Cpu;
use crate::loops::{Channelwise, Columns, map_channels};
use crate::ops::conv2d::affine::Mapped;
use crate::pass::Write;
use crate::simd::Simd;
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
