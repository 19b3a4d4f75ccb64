//! Launches the kernels of `loss.cu`.

use super::function::Loss;
use crate::gpu::{BLOCK, Device, Ptr, Slice, flat_grid, kernels};
use crate::pass::Write;

kernels!("loss" {
    loss_sums: 256 (u32, u32, Ptr, Ptr, Ptr),
    loss_mean: 256 (u32, u32, Ptr, Ptr),
    loss_backward: 256 (u32, u32, Ptr, Ptr, Ptr, Ptr, u32),
});

/// `LOSS_PER_THREAD` in loss.cu.
const PER_THREAD: usize = 16;

/// Elements of scratch for a loss: a sum a block.
pub(super) fn forward_workspace_len(len: usize) -> usize {
    len.div_ceil(BLOCK * PER_THREAD)
}

impl Kernels {
    /// The loss.
    pub(super) fn forward(
        &self,
        device: &Device,
        loss: Loss,
        prediction: Slice,
        target: Slice,
        out: Slice,
        workspace: Slice,
    ) {
        let (len, blocks) = (prediction.len as u32, forward_workspace_len(prediction.len));
        let partial = workspace.scratch(blocks).ptr;
        // SAFETY: prediction and target have `len` elements, the workspace one for each block, `out` one.
        unsafe {
            self.loss_sums.launch(device, [blocks, 1, 1], (loss as u32, len, prediction.ptr, target.ptr, partial));
            self.loss_mean.launch(device, [1, 1, 1], (blocks as u32, len, partial, out.ptr));
        }
    }

    /// `dprediction (+)= dloss l'(prediction)`
    pub(super) fn backward(
        &self,
        device: &Device,
        loss: Loss,
        [prediction, target, dloss]: [Slice; 3],
        dprediction: Slice,
        write: Write,
    ) {
        let (len, add) = (dprediction.len as u32, u32::from(write == Write::Add));
        let args = (loss as u32, len, prediction.ptr, target.ptr, dloss.ptr, dprediction.ptr, add);
        // SAFETY: all but `dloss` have `len` elements, and that has one.
        unsafe { self.loss_backward.launch(device, flat_grid(dprediction.len), args) }
    }
}
