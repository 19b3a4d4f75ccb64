//! Launches the kernel of `mul.cu`.

use crate::Write;
use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("mul" {
    mul: 256 (u32, Ptr, Ptr, Ptr, u32),
});

impl Kernels {
    /// `y (+)= a b`; `y` may be `a` or `b` if it is set.
    pub(super) fn mul(&self, device: &Device, [a, b]: [Slice; 2], y: Slice, write: Write) {
        let args = (y.len as u32, a.ptr, b.ptr, y.ptr, u32::from(write == Write::Add));
        // SAFETY: all have as many elements as `y`.
        unsafe { self.mul.launch(device, flat_grid(y.len), args) }
    }
}
