//! Launches the kernels of `finite.cu`.

use crate::cuda_rt::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("finite" {
    find_non_finite: 256 (u32, Ptr, Ptr),
    copy_if_raised: 256 (u32, Ptr, Ptr, Ptr),
});

impl Kernels {
    /// Raises the flag if a value is NaN or infinite.
    pub(crate) fn find(&self, device: &Device, values: Slice, flag: Slice) {
        assert_eq!(flag.len, 1, "elements of a flag");
        // SAFETY: the kernel reads `len` elements, and writes the flag.
        unsafe { self.find_non_finite.launch(device, flat_grid(values.len), (values.len as u32, values.ptr, flag.ptr)) }
    }

    /// `to = from` if the flag is up
    pub(crate) fn copy_if(&self, device: &Device, flag: Slice, from: Slice, to: Slice) {
        assert!(flag.len == 1 && from.len == to.len, "{} flags, {} to {}", flag.len, from.len, to.len);
        // SAFETY: the kernel reads the flag and `len` elements, and writes as many.
        unsafe { self.copy_if_raised.launch(device, flat_grid(to.len), (to.len as u32, flag.ptr, from.ptr, to.ptr)) }
    }
}
