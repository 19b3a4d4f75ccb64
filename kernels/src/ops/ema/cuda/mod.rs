//! Launches the kernels of `ema.cu`.

use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("ema" {
    ema_step: 256 (u32, f32, Ptr, Ptr, Ptr),
    ema_swap: 256 (u32, Ptr, Ptr),
});

impl Kernels {
    /// One step, or none if the flag `unless` is up. `share` is the weight of the parameter.
    pub(super) fn step(&self, device: &Device, share: f64, param: Slice, average: Slice, unless: Slice) {
        let args = (param.len as u32, share as f32, param.ptr, average.ptr, unless.ptr);
        // SAFETY: both have the length that the kernel is given, and the flag has one element, or no address.
        unsafe { self.ema_step.launch(device, flat_grid(param.len), args) }
    }

    /// Exchanges two arrays.
    pub(super) fn swap(&self, device: &Device, a: Slice, b: Slice) {
        // SAFETY: both have the length that the kernel is given.
        unsafe { self.ema_swap.launch(device, flat_grid(a.len), (a.len as u32, a.ptr, b.ptr)) }
    }
}
