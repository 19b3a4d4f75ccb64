//! Launches the kernels of `ssim.cu`.

use super::params::SsimParams;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("ssim" {
    ssim_sums: 256 (Ssim, Ptr, Ptr, Ptr),
    ssim_mean: 256 (Ssim, u32, Ptr, Ptr),
    ssim_coefficients: 256 (Ssim, Ptr, Ptr, Ptr, Ptr),
    ssim_backward: 256 (Ssim, Ptr, Ptr, Ptr, Ptr, u32),
});

/// `Ssim` in ssim.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ssim {
    n: u32,
    h: u32,
    w: u32,
    c: u32,
}

// SAFETY: `Ssim` in ssim.cu has the same fields.
unsafe impl Arg for Ssim {}

impl From<&SsimParams> for Ssim {
    fn from(p: &SsimParams) -> Ssim {
        Ssim { n: p.n as u32, h: p.h as u32, w: p.w as u32, c: p.c as u32 }
    }
}

fn blocks(p: &SsimParams) -> usize {
    p.windows().div_ceil(BLOCK)
}

/// Elements of scratch of the mean: a sum in two floats a block.
pub(super) fn forward_workspace_len(p: &SsimParams) -> usize {
    2 * blocks(p)
}

/// Elements of scratch of the gradient: three coefficients a window.
pub(super) fn backward_workspace_len(p: &SsimParams) -> usize {
    3 * p.windows()
}

impl Kernels {
    /// The mean similarity.
    pub(super) fn forward(&self, device: &Device, p: &SsimParams, [x, y]: [Slice; 2], out: Slice, workspace: Slice) {
        let partial = workspace.scratch(forward_workspace_len(p)).ptr;
        // SAFETY: the images have the lengths that `p` says, as the check of the pass asserts; the workspace has two
        // elements for each block, `out` has one.
        unsafe {
            self.ssim_sums.launch(device, [blocks(p), 1, 1], (p.into(), x.ptr, y.ptr, partial));
            self.ssim_mean.launch(device, [1, 1, 1], (p.into(), blocks(p) as u32, partial, out.ptr));
        }
    }

    /// `dx (+)= dout` times the gradient of the mean similarity
    pub(super) fn backward(
        &self,
        device: &Device,
        p: &SsimParams,
        [x, y, dout]: [Slice; 3],
        (dx, write): (Slice, Write),
        workspace: Slice,
    ) {
        let coefficients = workspace.scratch(backward_workspace_len(p)).ptr;
        let (grid, add) = ([dx.len.div_ceil(BLOCK), 1, 1], u32::from(write == Write::Add));
        // SAFETY: as above; the workspace has three elements for each window, `dout` has one.
        unsafe {
            let args = (p.into(), x.ptr, y.ptr, dout.ptr, coefficients);
            self.ssim_coefficients.launch(device, [blocks(p), 1, 1], args);
            self.ssim_backward.launch(device, grid, (p.into(), x.ptr, y.ptr, coefficients, dx.ptr, add));
        }
    }
}
