//! Launches the kernels of `batch_norm.cu`.

use super::BatchNormParams;
use crate::Write;
use crate::cuda_rt::columns::Columns;
use crate::cuda_rt::{Arg, Device, Ptr, Slice, kernels};

kernels!("batch_norm" {
    batch_norm_moments: 256 (Columns, Ptr, Ptr),
    batch_norm_statistics: 256 (Constants, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_apply: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_inference: 256 (Columns, f32, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_backward_sums: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_backward_statistics: 256 (Columns, Writes, Ptr, Ptr, Ptr, Ptr),
    batch_norm_backward_input: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, u32),
});

// Constants of batch_norm.cu.
const SUM_ROWS: usize = 32;
const MAP_ROWS: usize = 8;

/// `Constants` in batch_norm.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    columns: Columns,
    eps: f32,
    momentum: f32,
    unbias: f32,
}

// SAFETY: `Constants` in batch_norm.cu has the same fields.
unsafe impl Arg for Constants {}

/// `Writes` in batch_norm.cu: 1 for what is added to.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Writes {
    dgamma: u32,
    dbeta: u32,
}

// SAFETY: `Writes` in batch_norm.cu has the same fields.
unsafe impl Arg for Writes {}

/// Statistics of one batch and the state they update, each `[channels]`.
pub(crate) struct Statistics {
    /// Running mean, updated.
    pub(crate) running_mean: Slice,
    /// Running variance, updated.
    pub(crate) running_var: Slice,
    /// Mean of the batch, written.
    pub(crate) mean: Slice,
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub(crate) rstd: Slice,
}

/// Gradients of scale and offset; empty if they are not wanted.
pub(crate) struct ChannelGradients {
    /// Gradient of the scale.
    pub(crate) dgamma: Slice,
    /// Whether it is set or added to.
    pub(crate) dgamma_write: Write,
    /// Gradient of the offset.
    pub(crate) dbeta: Slice,
    /// Whether it is set or added to.
    pub(crate) dbeta_write: Write,
}

fn sums(p: &BatchNormParams) -> Columns {
    Columns::new(p.rows, p.channels, SUM_ROWS)
}

fn maps(p: &BatchNormParams) -> Columns {
    Columns::new(p.rows, p.channels, MAP_ROWS)
}

/// Elements of scratch for the statistics of a batch.
pub(crate) fn forward_workspace_len(p: &BatchNormParams) -> usize {
    3 * sums(p).cells()
}

/// Elements of scratch for the backward pass.
pub(crate) fn backward_workspace_len(p: &BatchNormParams) -> usize {
    2 * sums(p).cells() + 2 * p.channels
}

impl Kernels {
    /// `mean` and `rstd` of `x`, and the running statistics.
    pub(crate) fn statistics(&self, device: &Device, p: &BatchNormParams, x: Slice, out: &Statistics, workspace: Slice) {
        let columns = sums(p);
        let partial = workspace.scratch(forward_workspace_len(p)).ptr;
        let m = p.rows as f64;
        let unbias = if p.rows > 1 { (m / (m - 1.0)) as f32 } else { 0.0 };
        let constants = Constants { columns, eps: p.eps as f32, momentum: p.momentum as f32, unbias };
        let Statistics { running_mean, running_var, mean, rstd } = out;
        // SAFETY: the caller has checked the lengths against `p`; the workspace has three values for each chunk.
        unsafe {
            self.batch_norm_moments.launch(device, columns.grid(), (columns, x.ptr, partial));
            let args = (constants, partial, running_mean.ptr, running_var.ptr, mean.ptr, rstd.ptr);
            self.batch_norm_statistics.launch(device, columns.grid_of_channels(), args);
        }
    }

    /// `y = gamma (x - mean) rstd + beta`, with `channels` = `[gamma, beta, mean, rstd]`
    pub(crate) fn apply(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, rstd] = channels.map(|operand| operand.ptr);
        // SAFETY: the caller has checked the lengths against `p`.
        unsafe { self.batch_norm_apply.launch(device, columns.grid(), (columns, x.ptr, gamma, beta, mean, rstd, y.ptr)) }
    }

    /// `y = gamma (x - mean) / sqrt(var + eps) + beta`, with `channels` = `[gamma, beta, mean, var]`
    pub(crate) fn inference(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, var] = channels.map(|operand| operand.ptr);
        let args = (columns, p.eps as f32, x.ptr, gamma, beta, mean, var, y.ptr);
        // SAFETY: the caller has checked the lengths against `p`.
        unsafe { self.batch_norm_inference.launch(device, columns.grid(), args) }
    }

    /// All gradients, with `channels` = `[gamma, mean, rstd]`; `dx` may be empty, or `dy` itself if it is set.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        channels: [Slice; 3],
        dy: Slice,
        gradients: &ChannelGradients,
        dx: Slice,
        dx_write: Write,
        workspace: Slice,
    ) {
        let columns = sums(p);
        let partial = workspace.scratch(backward_workspace_len(p));
        let means = partial.from(2 * columns.cells());
        let [gamma, mean, rstd] = channels.map(|operand| operand.ptr);
        let ChannelGradients { dgamma, dgamma_write, dbeta, dbeta_write } = gradients;
        let [dgamma_add, dbeta_add] = [dgamma_write, dbeta_write].map(|write| u32::from(*write == Write::Add));
        let writes = Writes { dgamma: dgamma_add, dbeta: dbeta_add };
        // SAFETY: the caller has checked the lengths against `p`, and operands that are empty have address 0; the workspace has two
        // values for each chunk, and two for each channel.
        unsafe {
            self.batch_norm_backward_sums.launch(device, columns.grid(), (columns, x.ptr, mean, rstd, dy.ptr, partial.ptr));
            let args = (columns, writes, partial.ptr, dgamma.ptr, dbeta.ptr, means.ptr);
            self.batch_norm_backward_statistics.launch(device, columns.grid_of_channels(), args);
            if dx.len > 0 {
                let columns = maps(p);
                let add = u32::from(dx_write == Write::Add);
                let args = (columns, x.ptr, gamma, mean, rstd, means.ptr, dy.ptr, dx.ptr, add);
                self.batch_norm_backward_input.launch(device, columns.grid(), args);
            }
        }
    }
}
