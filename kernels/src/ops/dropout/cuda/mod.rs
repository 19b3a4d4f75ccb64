//! Launches the kernel of `dropout.cu`.

use super::Factors;
use crate::gpu::{Device, DeviceWords, Ptr, Slice, kernels};
use crate::pass::Write;
use crate::random::ElementWords;

kernels!("dropout" with "../../../gpu/random.cuh" {
    dropout: 256 (u32, u32, f32, DeviceWords, Ptr, Ptr, u32),
});

impl Kernels {
    /// `y (+)= f_i x`; `y` may be `x` if it is set.
    pub(super) fn apply(
        &self,
        device: &Device,
        factors: Factors,
        words: ElementWords,
        x: Slice,
        y: Slice,
        write: Write,
    ) {
        let Factors { threshold, scale } = factors;
        let words = DeviceWords::new(words, y.len);
        let add = u32::from(write == Write::Add);
        let args = (y.len as u32, threshold, scale as f32, words, x.ptr, y.ptr, add);
        // SAFETY: both operands have the length that the kernel is given.
        unsafe { self.dropout.launch(device, words.grid(y.len), args) }
    }
}
