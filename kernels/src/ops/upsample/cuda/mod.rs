//! Launches the kernels of `upsample.cu`.

use super::params::{UpsampleParams, Upsampling};
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("upsample" {
    upsample_forward: 256 (Upsample, Ptr, Ptr),
    upsample_backward: 256 (Upsample, Ptr, Ptr, u32),
});

/// `Axis` in upsample.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    input: u32,
    output: u32,
    bilinear: u32,
}

/// `Upsample` in upsample.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Upsample {
    n: u32,
    c: u32,
    rows: Axis,
    columns: Axis,
}

// SAFETY: `Upsample` in upsample.cu has the same fields.
unsafe impl Arg for Upsample {}

impl From<&UpsampleParams> for Upsample {
    fn from(p: &UpsampleParams) -> Upsample {
        let axis = |i: usize| Axis {
            input: p.input[i] as u32,
            output: p.output[i] as u32,
            bilinear: u32::from(p.upsampling == Upsampling::Bilinear),
        };
        Upsample { n: p.n as u32, c: p.c as u32, rows: axis(0), columns: axis(1) }
    }
}

impl Kernels {
    /// `y`
    pub(super) fn forward(&self, device: &Device, p: &UpsampleParams, x: Slice, y: Slice) {
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.upsample_forward.launch(device, [y.len.div_ceil(BLOCK), 1, 1], (p.into(), x.ptr, y.ptr)) }
    }

    /// `dx (+)=` what each pixel of the input is given
    pub(super) fn backward(&self, device: &Device, p: &UpsampleParams, dy: Slice, dx: Slice, write: Write) {
        let args = (p.into(), dy.ptr, dx.ptr, u32::from(write == Write::Add));
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.upsample_backward.launch(device, [dx.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
