//! Launches the kernels of `sum.cu`.

use crate::Write;
use crate::gpu::{BLOCK, Device, Ptr, Slice, flat_grid, kernels};

kernels!("sum" {
    sum_blocks: 256 (u32, Ptr, Ptr),
    sum_total: 256 (u32, f32, Ptr, Ptr),
    sum_backward: 256 (u32, f32, Ptr, Ptr, u32),
});

/// `SUM_PER_THREAD` in sum.cu.
const PER_THREAD: usize = 16;

/// Elements of scratch: a sum in two floats a block.
pub(super) fn workspace_len(len: usize) -> usize {
    2 * len.div_ceil(BLOCK * PER_THREAD)
}

impl Kernels {
    /// `y = factor sum x`
    pub(super) fn forward(&self, device: &Device, factor: f64, x: Slice, y: Slice, workspace: Slice) {
        let blocks = x.len.div_ceil(BLOCK * PER_THREAD);
        let partial = workspace.scratch(workspace_len(x.len)).ptr;
        // SAFETY: the workspace has two elements for each block, `y` has one.
        unsafe {
            self.sum_blocks.launch(device, [blocks, 1, 1], (x.len as u32, x.ptr, partial));
            self.sum_total.launch(device, [1, 1, 1], (blocks as u32, factor as f32, partial, y.ptr));
        }
    }

    /// `dx (+)= factor dy`
    pub(super) fn backward(&self, device: &Device, factor: f64, dy: Slice, dx: Slice, write: Write) {
        let args = (dx.len as u32, factor as f32, dy.ptr, dx.ptr, u32::from(write == Write::Add));
        // SAFETY: `dx` has so many elements, `dy` one.
        unsafe { self.sum_backward.launch(device, flat_grid(dx.len), args) }
    }
}
