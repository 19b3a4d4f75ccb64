//! Launches the kernels of `clip_norm.cu`.

use crate::gpu::{BLOCK, Device, Ptr, Slice, flat_grid, kernels};

kernels!("clip_norm" {
    norm_sums: 256 (u32, Ptr, Ptr),
    norm_total: 256 (u32, Ptr, Ptr),
    norm_clip: 256 (u32, f32, Ptr, Ptr),
});

/// `NORM_PER_THREAD` in clip_norm.cu.
const PER_THREAD: usize = 16;

/// Sums of a block: `KINDS` in clip_norm.cu.
const KINDS: usize = 3;

fn blocks(len: usize) -> usize {
    len.div_ceil(BLOCK * PER_THREAD)
}

/// Elements of scratch for a norm: the sums of every block.
pub(super) fn norm_workspace_len(len: usize) -> usize {
    KINDS * blocks(len)
}

impl Kernels {
    /// `norm = sqrt(sum x^2)`
    pub(super) fn norm(&self, device: &Device, x: Slice, norm: Slice, workspace: Slice) {
        let blocks = blocks(x.len);
        let partial = workspace.scratch(norm_workspace_len(x.len)).ptr;
        // SAFETY: `x` has the length that the kernel is given, the workspace three elements for each block, `norm` one.
        unsafe {
            self.norm_sums.launch(device, [blocks, 1, 1], (x.len as u32, x.ptr, partial));
            self.norm_total.launch(device, [1, 1, 1], (blocks as u32, partial, norm.ptr));
        }
    }

    /// `x *= min(1, max_norm / (norm + 1e-6))`
    pub(super) fn clip(&self, device: &Device, max_norm: f64, norm: Slice, x: Slice) {
        let args = (x.len as u32, max_norm as f32, norm.ptr, x.ptr);
        // SAFETY: `x` has the length that the kernel is given, and `norm` one element.
        unsafe { self.norm_clip.launch(device, flat_grid(x.len), args) }
    }
}
