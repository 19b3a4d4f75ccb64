//! Launches the kernel of `rrelu.cu`.

use super::slopes::Slopes;
use crate::gpu::{Device, DeviceWords, Ptr, Slice, kernels};
use crate::pass::Write;
use crate::random::{ElementWords, Key};

kernels!("rrelu" with "../../../gpu/random.cuh" {
    rrelu: 256 (u32, u32, DeviceWords, Ptr, Ptr, Ptr, u32),
});

impl Kernels {
    /// `out (+)= v` where `x > 0`, else its slope times `v`; `v` may be `out` if that is set.
    pub(super) fn apply(&self, device: &Device, slopes: Slopes, [x, v]: [Slice; 2], out: Slice, write: Write) {
        let (draws, words) = match slopes {
            Slopes::Random(words) => (1, DeviceWords::new(words, out.len)),
            Slopes::Mean => (0, DeviceWords::new(ElementWords { key: Key::ZERO, first: 0 }, out.len)),
        };
        let args = (out.len as u32, draws, words, x.ptr, v.ptr, out.ptr, u32::from(write == Write::Add));
        // SAFETY: all operands have the length that the kernel is given.
        unsafe { self.rrelu.launch(device, words.grid(out.len), args) }
    }
}
