//! Launches the kernels of `sgd.cu`.

use super::params::{Constants, SgdParams};
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};

kernels!("sgd" {
    sgd_step: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr),
    sgd_check: 256 (Constants, u32, Ptr, Ptr, Ptr, Ptr),
});

// SAFETY: `Constants` in sgd.cu has the same fields.
unsafe impl Arg for Constants {}

impl Kernels {
    /// One step, or none if the flag `unless` is up.
    pub(super) fn step(&self, device: &Device, p: &SgdParams, [param, grad, buffer, unless]: [Slice; 4]) {
        let args = (Constants::new(p), grad.len as u32, param.ptr, grad.ptr, buffer.ptr, unless.ptr);
        // SAFETY: all have as many elements as `grad`, and the flag has one; buffer and flag may have no address.
        unsafe { self.sgd_step.launch(device, [grad.len.div_ceil(BLOCK), 1, 1], args) }
    }

    /// Raises the flag if a step would leave a value that is NaN or infinite.
    pub(super) fn check(&self, device: &Device, p: &SgdParams, [param, grad, buffer, flag]: [Slice; 4]) {
        let args = (Constants::new(p), grad.len as u32, param.ptr, grad.ptr, buffer.ptr, flag.ptr);
        // SAFETY: all have as many elements as `grad`, and the flag has one; the buffer may have no address.
        unsafe { self.sgd_check.launch(device, [grad.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
