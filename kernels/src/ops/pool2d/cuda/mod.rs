//! Launches the kernels of `pool2d.cu`.

use super::params::{PoolParams, Pooling};
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("pool2d" {
    pool2d_forward: 256 (Pool, Ptr, Ptr),
    pool2d_backward: 256 (Pool, Ptr, Ptr, Ptr, u32),
});

/// `Axis` in pool2d.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Axis {
    input: u32,
    output: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
}

/// `Pool` in pool2d.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Pool {
    n: u32,
    c: u32,
    pooling: u32,
    rows: Axis,
    columns: Axis,
}

// SAFETY: `Pool` in pool2d.cu has the same fields.
unsafe impl Arg for Pool {}

impl From<&PoolParams> for Pool {
    fn from(p: &PoolParams) -> Pool {
        let axis = |i: usize| {
            // A stride beyond the image is never taken.
            let sizes = [p.input[i], p.output[i], p.kernel[i], p.stride[i], p.padding[i]];
            let [input, output, kernel, stride, padding] = sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
            Axis { input, output, kernel, stride, padding }
        };
        let pooling = match p.pooling {
            Pooling::Max => 0,
            Pooling::Average => 1,
            Pooling::AverageInside => 2,
        };
        Pool { n: p.n as u32, c: p.c as u32, pooling, rows: axis(0), columns: axis(1) }
    }
}

impl Kernels {
    /// The pooled image.
    pub(super) fn forward(&self, device: &Device, p: &PoolParams, x: Slice, y: Slice) {
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.pool2d_forward.launch(device, [y.len.div_ceil(BLOCK), 1, 1], (p.into(), x.ptr, y.ptr)) }
    }

    /// Its gradient.
    pub(super) fn backward(&self, device: &Device, p: &PoolParams, [x, dy]: [Slice; 2], dx: Slice, write: Write) {
        let args = (p.into(), x.ptr, dy.ptr, dx.ptr, u32::from(write == Write::Add));
        // SAFETY: the lengths are those that `p` says, as the check of the pass asserts.
        unsafe { self.pool2d_backward.launch(device, [dx.len.div_ceil(BLOCK), 1, 1], args) }
    }
}
