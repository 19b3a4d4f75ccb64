//! Launches the kernels of `add.cu`.

use crate::Write;
use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("add" {
    add_weighted: 256 (u32, f32, Ptr, Ptr, Ptr),
    add_scaled: 256 (u32, f32, Ptr, Ptr, u32),
});

impl Kernels {
    /// `y = a + weight b`; `y` may be `a` or `b`.
    pub(crate) fn add(&self, device: &Device, weight: f64, a: Slice, b: Slice, y: Slice) {
        let args = (y.len as u32, weight as f32, a.ptr, b.ptr, y.ptr);
        // SAFETY: all have as many elements as `y`.
        unsafe { self.add_weighted.launch(device, flat_grid(y.len), args) }
    }

    /// `y (+)= weight x`; `y` may be `x` if it is set.
    pub(crate) fn scale(&self, device: &Device, weight: f64, x: Slice, y: Slice, write: Write) {
        let args = (y.len as u32, weight as f32, x.ptr, y.ptr, u32::from(write == Write::Add));
        // SAFETY: both have as many elements as `y`.
        unsafe { self.add_scaled.launch(device, flat_grid(y.len), args) }
    }
}
