//! Launches the kernels of `adamw.cu`.

use super::params::{AdamWParams, Constants};
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};

kernels!("adamw" {
    adamw_step: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr, Ptr),
    adamw_check: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr, Ptr),
});

// SAFETY: `Constants` in adamw.cu has the same fields.
unsafe impl Arg for Constants {}

impl Kernels {
    /// One step, or none if the flag `unless` is up.
    pub(super) fn step(&self, device: &Device, p: &AdamWParams, [param, grad, m, v]: [Slice; 4], unless: Slice) {
        let args = (Constants::new(p), grad.len as u32, param.ptr, grad.ptr, m.ptr, v.ptr, unless.ptr);
        // SAFETY: all have as many elements as `grad`, and the flag has one, or no address.
        unsafe { self.adamw_step.launch(device, [grad.len.div_ceil(BLOCK), 1, 1], args) }
    }

    /// Raises the flag if a step would leave a value that is NaN or infinite.
    pub(super) fn check(&self, device: &Device, p: &AdamWParams, [param, grad, m, v]: [Slice; 4], flag: Slice) {
        let args = (Constants::new(p), grad.len as u32, param.ptr, grad.ptr, m.ptr, v.ptr, flag.ptr);
        // SAFETY: all have as many elements as `grad`, and the flag has one.
        unsafe { self.adamw_check.launch(device, [grad.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
