//! Launches the kernels of `finite.cu`.

use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("finite" {
    find_non_finite: 256 (u32, Ptr, Ptr),
    copy_if_raised: 256 (u32, Ptr, Ptr, Ptr),
});

impl Kernels {
    /// Raises the flag if a value is NaN or infinite.
    pub(super) fn find(&self, device: &Device, values: Slice, flag: Slice) {
        // SAFETY: the values have the length that the kernel is given, and the flag one element.
        unsafe { self.find_non_finite.launch(device, flat_grid(values.len), (values.len as u32, values.ptr, flag.ptr)) }
    }

    /// `to = from` if the flag is up.
    pub(super) fn copy_if(&self, device: &Device, flag: Slice, from: Slice, to: Slice) {
        // SAFETY: the flag has one element, and both other operands the length that the kernel is given.
        unsafe { self.copy_if_raised.launch(device, flat_grid(to.len), (to.len as u32, flag.ptr, from.ptr, to.ptr)) }
    }
}
