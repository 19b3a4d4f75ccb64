//! Launches the kernel of `adamw.cu`.

use super::params::{AdamWParams, Constants};
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};

kernels!("adamw" {
    adamw_step: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr, Ptr),
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
}
