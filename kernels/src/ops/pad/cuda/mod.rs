//! Launches the kernels of `pad.cu`.

use super::params::PadParams;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("pad" {
    pad_forward: 256 (Shape, Ptr, Ptr),
    pad_backward: 256 (Shape, Ptr, Ptr, u32),
});

/// `Pad` in pad.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    n: u32,
    h0: u32,
    row0: u32,
    h1: u32,
    row1: u32,
}

// SAFETY: `Pad` in pad.cu has the same fields.
unsafe impl Arg for Shape {}

impl From<&PadParams> for Shape {
    fn from(p: &PadParams) -> Shape {
        let [n, h0, row0, h1, row1] = [p.n, p.h0, p.w0 * p.c, p.h1, p.w1 * p.c].map(|size| size as u32);
        Shape { n, h0, row0, h1, row1 }
    }
}

impl Kernels {
    /// `y = x` inside, 0 outside
    pub(super) fn forward(&self, device: &Device, p: &PadParams, x: Slice, y: Slice) {
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.pad_forward.launch(device, [y.len.div_ceil(BLOCK), 1, 1], (p.into(), x.ptr, y.ptr)) }
    }

    /// `dx (+)= dy` inside
    pub(super) fn backward(&self, device: &Device, p: &PadParams, dy: Slice, dx: Slice, write: Write) {
        let args = (p.into(), dy.ptr, dx.ptr, u32::from(write == Write::Add));
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.pad_backward.launch(device, [dx.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
