//! Launches the kernels of `prelu.cu`.

use crate::Write;
use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("prelu" {
    prelu_forward: 256 (u32, Ptr, Ptr, Ptr),
    prelu_backward: 256 (u32, Ptr, Ptr, Ptr, Ptr, u32, Ptr),
    prelu_grad_slope: 256 (u32, Ptr, Ptr, u32),
});

/// Elements of scratch for the backward pass over `len` elements: a sum a block.
pub(crate) fn backward_workspace_len(len: usize) -> usize {
    flat_grid(len)[0]
}

impl Kernels {
    /// `y = x` where `x > 0`, else `slope x`; `y` may be `x`.
    pub(crate) fn forward(&self, device: &Device, x: Slice, slope: Slice, y: Slice) {
        // SAFETY: `x` and `y` have as many elements as is said, the slope has one.
        unsafe { self.prelu_forward.launch(device, flat_grid(y.len), (y.len as u32, x.ptr, slope.ptr, y.ptr)) }
    }

    /// The gradients of the input and of the slope, each unless it is empty; `dx` may be `dy` if it is set.
    pub(crate) fn backward(
        &self,
        device: &Device,
        [x, slope, dy]: [Slice; 3],
        (dx, dx_write): (Slice, Write),
        (dslope, dslope_write): (Slice, Write),
        workspace: Slice,
    ) {
        let blocks = backward_workspace_len(x.len);
        let partial = workspace.scratch(blocks).ptr;
        let [dx_add, dslope_add] = [dx_write, dslope_write].map(|write| u32::from(write == Write::Add));
        // SAFETY: `x`, `dy` and, unless it is null, `dx` have as many elements as is said, the workspace one for each
        // block, and the slope and its gradient one.
        unsafe {
            let args = (x.len as u32, x.ptr, slope.ptr, dy.ptr, dx.ptr, dx_add, partial);
            self.prelu_backward.launch(device, flat_grid(x.len), args);
            if dslope.len > 0 {
                self.prelu_grad_slope.launch(device, [1, 1, 1], (blocks as u32, partial, dslope.ptr, dslope_add));
            }
        }
    }
}
