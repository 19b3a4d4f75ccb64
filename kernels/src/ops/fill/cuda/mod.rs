//! Launches the kernel of `fill.cu`.

use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("fill" {
    fill: 256 (u32, f32, Ptr),
});

impl Kernels {
    pub(crate) fn fill(&self, device: &Device, out: Slice, value: f32) {
        // SAFETY: the kernel writes `len` elements.
        unsafe { self.fill.launch(device, flat_grid(out.len), (out.len as u32, value, out.ptr)) }
    }
}
