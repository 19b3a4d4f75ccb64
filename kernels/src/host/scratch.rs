//! Workspaces and operands of a pass on the CPU.

use crate::memory::{HostMemory, Span};

/// The first `len` elements of a workspace.
pub(crate) fn scratch(workspace: &mut [f32], len: usize) -> &mut [f32] {
    assert!(workspace.len() >= len, "workspace of {} elements, {len} needed", workspace.len());
    &mut workspace[..len]
}

/// Length, in f32 elements, of a workspace in which [`as_f64`] finds `len` f64 values.
pub(crate) fn f64_workspace_len(len: usize) -> usize {
    if len == 0 { 0 } else { 2 * len + 1 }
}

/// The aligned f64 values in a workspace, for sums that need their precision.
pub(crate) fn as_f64(workspace: &mut [f32]) -> &mut [f64] {
    bytemuck::pod_align_to_mut(workspace).1
}

/// An operand that must not be the output.
pub(crate) fn distinct(operand: Option<&[f32]>) -> &[f32] {
    operand.expect("this operand must not be the output")
}

impl HostMemory<f32> {
    /// Like [`views`](Self::views), but a non-empty read that is the same span as the first written one is `None`: a
    /// pass that works in place finds its values in the output.
    pub(crate) fn views_in_place<const R: usize, const W: usize>(
        &mut self,
        reads: [Span; R],
        writes: [Span; W],
    ) -> ([Option<&[f32]>; R], [&mut [f32]; W]) {
        let is_output = reads.map(|read| read == writes[0] && !read.is_empty());
        let mut others = reads;
        for (other, is_output) in others.iter_mut().zip(is_output) {
            if is_output {
                *other = Span::EMPTY;
            }
        }
        let (reads, writes) = self.views(others, writes);
        let mut is_output = is_output.into_iter();
        (reads.map(|read| (!is_output.next().unwrap_or(false)).then_some(read)), writes)
    }
}
