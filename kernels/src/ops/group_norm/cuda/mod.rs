//! Launches the kernels of `group_norm.cu`.

use super::params::GroupNormParams;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, flat_grid, kernels};
use crate::pass::Write;

kernels!("group_norm" {
    group_norm_statistics: 256 (Groups, Ptr, Ptr, Ptr),
    group_norm_apply: 256 (Groups, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    group_norm_sums: 256 (Groups, Ptr, Ptr, Ptr, Ptr, Ptr),
    group_norm_parameters: 256 (Groups, Ptr, Ptr, u32),
    group_norm_subtracted: 256 (Groups, Ptr, Ptr, Ptr, Ptr),
    group_norm_backward: 256 (Groups, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, u32),
});

/// `Groups` in group_norm.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Groups {
    images: u32,
    rows: u32,
    channels: u32,
    groups: u32,
    eps: f32,
}

// SAFETY: `Groups` in group_norm.cu has the same fields.
unsafe impl Arg for Groups {}

impl From<&GroupNormParams> for Groups {
    fn from(p: &GroupNormParams) -> Groups {
        let [images, rows, channels, groups] = [p.images, p.rows, p.channels, p.groups].map(|size| size as u32);
        Groups { images, rows, channels, groups, eps: p.eps as f32 }
    }
}

/// Elements of scratch for the gradients: two a channel and image, and two a group and image.
pub(super) fn backward_workspace_len(p: &GroupNormParams) -> usize {
    2 * p.images * (p.channels + p.groups)
}

// The pass has checked the lengths of all slices against `p`.
impl Kernels {
    /// `mean` and `rstd` of every group
    pub(super) fn statistics(&self, device: &Device, p: &GroupNormParams, x: Slice, [mean, rstd]: [Slice; 2]) {
        // SAFETY: the lengths are checked against `p`.
        unsafe {
            let args = (p.into(), x.ptr, mean.ptr, rstd.ptr);
            self.group_norm_statistics.launch(device, [p.images * p.groups, 1, 1], args);
        }
    }

    /// `y = gamma (x - mean) rstd + beta`; `operands` are `[gamma, beta, mean, rstd]`, and `y` may be `x`.
    pub(super) fn apply(&self, device: &Device, p: &GroupNormParams, x: Slice, operands: [Slice; 4], y: Slice) {
        let [gamma, beta, mean, rstd] = operands.map(|operand| operand.ptr);
        // SAFETY: the lengths are checked against `p`.
        unsafe {
            let args = (p.into(), x.ptr, gamma, beta, mean, rstd, y.ptr);
            self.group_norm_apply.launch(device, flat_grid(y.len), args);
        }
    }

    /// `dgamma`, `dbeta` and `dx`, each unless it is absent; `dx` may be `dy` if it is set.
    pub(super) fn backward(
        &self,
        device: &Device,
        p: &GroupNormParams,
        [x, gamma, mean, rstd, dy]: [Slice; 5],
        out: [(Slice, Write); 2],
        (dx, dx_write): (Slice, Write),
        workspace: Slice,
    ) {
        let sums = workspace.scratch(backward_workspace_len(p));
        let of_dy = sums.from(p.images * p.channels);
        let subtracted = of_dy.from(p.images * p.channels);
        let by_group = [(p.images * p.groups).div_ceil(BLOCK / 32), 1, 1];
        let add = |write: Write| u32::from(write == Write::Add);
        // SAFETY: the lengths are checked against `p`; the workspace has two values for each channel in each image, and
        // then two for each group.
        unsafe {
            let args = (p.into(), x.ptr, mean.ptr, rstd.ptr, dy.ptr, sums.ptr);
            self.group_norm_sums.launch(device, [p.images, p.channels.div_ceil(32), 1], args);
            for ((gradient, write), sums) in out.into_iter().zip([sums, of_dy]).filter(|((out, _), _)| out.len > 0) {
                let args = (p.into(), sums.ptr, gradient.ptr, add(write));
                self.group_norm_parameters.launch(device, [p.channels.div_ceil(BLOCK / 32), 1, 1], args);
            }
            if dx.len > 0 {
                let args = (p.into(), sums.ptr, gamma.ptr, rstd.ptr, subtracted.ptr);
                self.group_norm_subtracted.launch(device, by_group, args);
                let subtracted = subtracted.ptr;
                let args = (p.into(), x.ptr, gamma.ptr, mean.ptr, rstd.ptr, subtracted, dy.ptr, dx.ptr, add(dx_write));
                self.group_norm_backward.launch(device, flat_grid(dx.len), args);
            }
        }
    }
}
