//! Launches the kernels of `batch_norm.cu`.

use super::params::BatchNormParams;
use crate::gpu::columns::Columns;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("batch_norm" {
    batch_norm_chunks: 256 (Columns, Ptr, Ptr),
    batch_norm_statistics: 256 (Columns, Update, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_moments: 256 (Columns, Ptr, Ptr, Ptr),
    batch_norm_fold: 256 (u32, Update, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_apply: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_inference: 256 (Columns, f32, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_backward_sums: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_gradients: 256 (Columns, Writes, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr),
    batch_norm_backward: 256 (Columns, Ptr, Ptr, Ptr, Ptr, Ptr, u32),
});

// Constants of batch_norm.cu.
const SUM_ROWS: usize = 32;
const MAP_ROWS: usize = 8;

/// `Update` in batch_norm.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Update {
    eps: f32,
    momentum: f32,
    unbias: f32,
}

// SAFETY: `Update` in batch_norm.cu has the same fields.
unsafe impl Arg for Update {}

impl Update {
    fn new(p: &BatchNormParams) -> Update {
        let rows = p.rows as f64;
        let unbias = if p.rows > 1 { rows / (rows - 1.0) } else { 0.0 };
        Update { eps: p.eps as f32, momentum: p.momentum as f32, unbias: unbias as f32 }
    }
}

/// `Writes` in batch_norm.cu: 1 for what is added to.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Writes {
    dgamma: u32,
    dbeta: u32,
}

// SAFETY: `Writes` in batch_norm.cu has the same fields.
unsafe impl Arg for Writes {}

/// What the forward pass makes of the batch statistics, each `[channels]`.
pub(crate) struct ForwardStats {
    /// Running mean, updated.
    pub(crate) running_mean: Slice,
    /// Running variance, updated.
    pub(crate) running_var: Slice,
    /// Mean of the batch, written.
    pub(crate) mean: Slice,
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub(crate) rstd: Slice,
}

/// How kernels that sum over rows walk them.
fn sums(p: &BatchNormParams) -> Columns {
    Columns::new(p.rows, p.channels, SUM_ROWS)
}

/// How kernels that compute every element walk them.
fn maps(p: &BatchNormParams) -> Columns {
    Columns::new(p.rows, p.channels, MAP_ROWS)
}

/// Elements of scratch for the batch statistics.
pub(crate) fn batch_stats_workspace_len(p: &BatchNormParams) -> usize {
    3 * sums(p).cells()
}

/// Elements of scratch for gradients of scale and offset.
pub(crate) fn gradients_workspace_len(p: &BatchNormParams) -> usize {
    2 * sums(p).cells()
}

/// Elements of scratch for the whole backward pass: that of the gradients, and the coefficients.
pub(crate) fn backward_workspace_len(p: &BatchNormParams) -> usize {
    gradients_workspace_len(p) + 3 * p.channels
}

// The pass has checked the lengths of all slices against `p`. An operand that is absent is empty, and has address 0.
impl Kernels {
    /// The statistics of the chunks of `x`, left in the workspace.
    fn chunks(&self, device: &Device, p: &BatchNormParams, x: Slice, workspace: Slice) -> (Columns, Slice) {
        let columns = sums(p);
        let partial = workspace.scratch(batch_stats_workspace_len(p));
        // SAFETY: the lengths are checked against `p`; the workspace has three values for each chunk.
        unsafe { self.batch_norm_chunks.launch(device, columns.grid(), (columns, x.ptr, partial.ptr)) }
        (columns, partial)
    }

    /// `mean` and `rstd` of `x`, and the running statistics.
    pub(crate) fn forward_stats(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        out: &ForwardStats,
        workspace: Slice,
    ) {
        let (columns, partial) = self.chunks(device, p, x, workspace);
        let ForwardStats { running_mean, running_var, mean, rstd } = out;
        let args = (columns, Update::new(p), partial.ptr, running_mean.ptr, running_var.ptr, mean.ptr, rstd.ptr);
        // SAFETY: the lengths are checked against `p`; the workspace has three values for each chunk.
        unsafe { self.batch_norm_statistics.launch(device, columns.grid_of_channels(), args) }
    }

    /// Mean, and variance with divisor `rows`, of the channels of `x`.
    pub(crate) fn batch_stats(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        [mean, var]: [Slice; 2],
        workspace: Slice,
    ) {
        let (columns, partial) = self.chunks(device, p, x, workspace);
        self.finish_batch_stats(device, columns, partial, [mean, var]);
    }

    /// Mean and variance from the statistics of the chunks: `partial` has three values for each.
    pub(crate) fn finish_batch_stats(
        &self,
        device: &Device,
        columns: Columns,
        partial: Slice,
        [mean, var]: [Slice; 2],
    ) {
        let partial = partial.scratch(3 * columns.cells());
        // SAFETY: `mean` and `var` have as many elements as `columns` has channels, `partial` has three for each chunk.
        unsafe {
            let args = (columns, partial.ptr, mean.ptr, var.ptr);
            self.batch_norm_moments.launch(device, columns.grid_of_channels(), args);
        }
    }

    /// The affine map of a normalization; the running statistics and `rstd` may be absent.
    pub(crate) fn fold(
        &self,
        device: &Device,
        p: &BatchNormParams,
        [gamma, beta, mean, var]: [Slice; 4],
        [running_mean, running_var]: [Slice; 2],
        [rstd, scale, shift]: [Slice; 3],
    ) {
        let [gamma, beta, mean, var] = [gamma, beta, mean, var].map(|operand| operand.ptr);
        let [running_mean, running_var] = [running_mean, running_var].map(|operand| operand.ptr);
        let [rstd, scale, shift] = [rstd, scale, shift].map(|operand| operand.ptr);
        let (channels, update) = (p.channels as u32, Update::new(p));
        let args = (channels, update, gamma, beta, mean, var, running_mean, running_var, rstd, scale, shift);
        // SAFETY: the lengths are checked against `p`, and operands that are absent have address 0.
        unsafe { self.batch_norm_fold.launch(device, [p.channels.div_ceil(BLOCK), 1, 1], args) }
    }

    /// `y = gamma (x - mean) rstd + beta`; `channels` are `[gamma, beta, mean, rstd]`, and `y` may be `x`.
    pub(crate) fn apply(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, rstd] = channels.map(|operand| operand.ptr);
        let args = (columns, x.ptr, gamma, beta, mean, rstd, y.ptr);
        // SAFETY: the lengths are checked against `p`.
        unsafe { self.batch_norm_apply.launch(device, columns.grid(), args) }
    }

    /// `y = gamma (x - mean) / sqrt(var + eps) + beta`; `channels` are `[gamma, beta, mean, var]`, and `y` may be `x`.
    pub(crate) fn inference(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, var] = channels.map(|operand| operand.ptr);
        let args = (columns, p.eps as f32, x.ptr, gamma, beta, mean, var, y.ptr);
        // SAFETY: the lengths are checked against `p`.
        unsafe { self.batch_norm_inference.launch(device, columns.grid(), args) }
    }

    /// `dgamma`, `dbeta` and the coefficients of the gradient of the input, each unless it is absent.
    pub(crate) fn gradients(
        &self,
        device: &Device,
        p: &BatchNormParams,
        [x, gamma, mean, rstd, dy]: [Slice; 5],
        [(dgamma, dgamma_write), (dbeta, dbeta_write)]: [(Slice, Write); 2],
        coefficients: Slice,
        workspace: Slice,
    ) {
        let columns = sums(p);
        let partial = workspace.scratch(gradients_workspace_len(p)).ptr;
        let [dgamma_add, dbeta_add] = [dgamma_write, dbeta_write].map(|write| u32::from(write == Write::Add));
        let writes = Writes { dgamma: dgamma_add, dbeta: dbeta_add };
        // SAFETY: the lengths are checked against `p`, and operands that are absent have address 0; the workspace has
        // two values for each chunk.
        unsafe {
            let args = (columns, x.ptr, mean.ptr, rstd.ptr, dy.ptr, partial);
            self.batch_norm_backward_sums.launch(device, columns.grid(), args);
            let args = (columns, writes, partial, gamma.ptr, rstd.ptr, dgamma.ptr, dbeta.ptr, coefficients.ptr);
            self.batch_norm_gradients.launch(device, columns.grid_of_channels(), args);
        }
    }

    /// As [`gradients`](Self::gradients), and `dx`, which may be `dy` if it is set.
    pub(crate) fn backward(
        &self,
        device: &Device,
        p: &BatchNormParams,
        inputs: [Slice; 5],
        out: [(Slice, Write); 2],
        (dx, dx_write): (Slice, Write),
        workspace: Slice,
    ) {
        let workspace = workspace.scratch(backward_workspace_len(p));
        let coefficients = workspace.from(gradients_workspace_len(p));
        self.gradients(device, p, inputs, out, coefficients, workspace);
        let columns = maps(p);
        let [x, _, mean, _, dy] = inputs.map(|operand| operand.ptr);
        let args = (columns, x, mean, coefficients.ptr, dy, dx.ptr, u32::from(dx_write == Write::Add));
        // SAFETY: the lengths are checked against `p`; the workspace has room for three coefficients a channel.
        unsafe { self.batch_norm_backward.launch(device, columns.grid(), args) }
    }
}
