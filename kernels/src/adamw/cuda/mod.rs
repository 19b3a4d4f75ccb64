//! Launches the kernel of `adamw.cu`.

use super::{AdamWParams, Constants};
use crate::cuda_rt::{Arg, BLOCK, Device, Ptr, Slice, kernels};

kernels!("adamw" {
    adamw_step: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr),
});

// SAFETY: `Constants` in adamw.cu has the same fields.
unsafe impl Arg for Constants {}

impl Kernels {
    /// One step.
    pub(crate) fn step(&self, device: &Device, p: &AdamWParams, param: Slice, grad: Slice, m: Slice, v: Slice) {
        let args = (Constants::new(p), grad.len as u32, param.ptr, grad.ptr, m.ptr, v.ptr);
        // SAFETY: all have as many elements as `grad`.
        unsafe { self.adamw_step.launch(device, [grad.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
