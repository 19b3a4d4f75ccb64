//! Launches the kernel of `finite.cu`.

use crate::cuda_rt::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("finite" {
    find_non_finite: 256 (u32, Ptr, Ptr),
});

impl Kernels {
    /// Sets the word `found` to 1 if a value is NaN or infinite.
    pub(crate) fn find(&self, device: &Device, values: Slice, found: Ptr) {
        // SAFETY: the kernel reads `len` elements, and writes one word.
        unsafe { self.find_non_finite.launch(device, flat_grid(values.len), (values.len as u32, values.ptr, found)) }
    }
}
