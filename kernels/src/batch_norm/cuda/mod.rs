//! Launches the kernels of `batch_norm.cu`.

use super::BatchNormParams;
use crate::Write;
use crate::cuda_rt::columns::Columns;
use crate::cuda_rt::{Arg, BLOCK, Device, Ptr, Slice, kernels};

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

/// Elements of scratch for the moments of a batch.
pub(crate) fn moments_workspace_len(p: &BatchNormParams) -> usize {
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

/// The operands of a fold, each `[channels]`; the first three may be empty.
pub(crate) struct Fold {
    pub(crate) running_mean: Slice,
    pub(crate) running_var: Slice,
    pub(crate) rstd: Slice,
    pub(crate) scale: Slice,
    pub(crate) shift: Slice,
}

impl Kernels {
    /// The moments of the chunks of `x`, left in the workspace.
    fn chunks(&self, device: &Device, p: &BatchNormParams, x: Slice, workspace: Slice) -> (Columns, Slice) {
        let columns = sums(p);
        let partial = workspace.scratch(moments_workspace_len(p));
        // SAFETY: the caller has checked the lengths against `p`; the workspace has three values for each chunk.
        unsafe { self.batch_norm_chunks.launch(device, columns.grid(), (columns, x.ptr, partial.ptr)) }
        (columns, partial)
    }

    /// `mean` and `rstd` of `x`, and the running statistics.
    pub(crate) fn statistics(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        out: &Statistics,
        workspace: Slice,
    ) {
        let (columns, partial) = self.chunks(device, p, x, workspace);
        let Statistics { running_mean, running_var, mean, rstd } = out;
        let args = (columns, Update::new(p), partial.ptr, running_mean.ptr, running_var.ptr, mean.ptr, rstd.ptr);
        // SAFETY: the caller has checked the lengths against `p`; the workspace has three values for each chunk.
        unsafe { self.batch_norm_statistics.launch(device, columns.grid_of_channels(), args) }
    }

    /// Mean, and variance with divisor `rows`, of the channels of `x`.
    pub(crate) fn moments(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        [mean, var]: [Slice; 2],
        workspace: Slice,
    ) {
        let (columns, partial) = self.chunks(device, p, x, workspace);
        self.finish_moments(device, columns, partial, [mean, var]);
    }

    /// Mean and variance from the moments of the chunks, of which `partial` has three values each.
    pub(crate) fn finish_moments(&self, device: &Device, columns: Columns, partial: Slice, [mean, var]: [Slice; 2]) {
        let partial = partial.scratch(3 * columns.cells());
        // SAFETY: `mean` and `var` have as many elements as `columns` has channels, `partial` three for each chunk.
        unsafe {
            let args = (columns, partial.ptr, mean.ptr, var.ptr);
            self.batch_norm_moments.launch(device, columns.grid_of_channels(), args);
        }
    }

    /// The affine map of a normalization, with `channels` = `[gamma, beta, mean, var]`.
    pub(crate) fn fold(&self, device: &Device, p: &BatchNormParams, channels: [Slice; 4], out: &Fold) {
        let [gamma, beta, mean, var] = channels.map(|operand| operand.ptr);
        let Fold { running_mean, running_var, rstd, scale, shift } = out;
        let [running_mean, running_var, rstd] = [running_mean, running_var, rstd].map(|operand| operand.ptr);
        let update = Update::new(p);
        let args =
            (p.channels as u32, update, gamma, beta, mean, var, running_mean, running_var, rstd, scale.ptr, shift.ptr);
        // SAFETY: the caller has checked the lengths against `p`, and operands that are empty have address 0.
        unsafe { self.batch_norm_fold.launch(device, [p.channels.div_ceil(BLOCK), 1, 1], args) }
    }

    /// `y = gamma (x - mean) rstd + beta`, with `channels` = `[gamma, beta, mean, rstd]`
    pub(crate) fn apply(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, rstd] = channels.map(|operand| operand.ptr);
        // SAFETY: the caller has checked the lengths against `p`.
        unsafe {
            self.batch_norm_apply.launch(device, columns.grid(), (columns, x.ptr, gamma, beta, mean, rstd, y.ptr))
        }
    }

    /// `y = gamma (x - mean) / sqrt(var + eps) + beta`, with `channels` = `[gamma, beta, mean, var]`
    pub(crate) fn inference(&self, device: &Device, p: &BatchNormParams, x: Slice, channels: [Slice; 4], y: Slice) {
        let columns = maps(p);
        let [gamma, beta, mean, var] = channels.map(|operand| operand.ptr);
        let args = (columns, p.eps as f32, x.ptr, gamma, beta, mean, var, y.ptr);
        // SAFETY: the caller has checked the lengths against `p`.
        unsafe { self.batch_norm_inference.launch(device, columns.grid(), args) }
    }

    /// Gradients of scale and offset, and the coefficients of the gradient of the input unless they are empty, with `channels` =
    /// `[gamma, mean, rstd]`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn gradients(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        channels: [Slice; 3],
        dy: Slice,
        out: &ChannelGradients,
        coefficients: Slice,
        workspace: Slice,
    ) {
        let columns = sums(p);
        let partial = workspace.scratch(gradients_workspace_len(p)).ptr;
        let [gamma, mean, rstd] = channels.map(|operand| operand.ptr);
        let ChannelGradients { dgamma, dgamma_write, dbeta, dbeta_write } = out;
        let [dgamma_add, dbeta_add] = [dgamma_write, dbeta_write].map(|write| u32::from(*write == Write::Add));
        let writes = Writes { dgamma: dgamma_add, dbeta: dbeta_add };
        // SAFETY: the caller has checked the lengths against `p`, and operands that are empty have address 0; the workspace has
        // two values for each chunk.
        unsafe {
            let args = (columns, x.ptr, mean, rstd, dy.ptr, partial);
            self.batch_norm_backward_sums.launch(device, columns.grid(), args);
            let args = (columns, writes, partial, gamma, rstd, dgamma.ptr, dbeta.ptr, coefficients.ptr);
            self.batch_norm_gradients.launch(device, columns.grid_of_channels(), args);
        }
    }

    /// All gradients; `dx` may be `dy` itself if it is set. Otherwise as [`gradients`](Self::gradients).
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward(
        &self,
        device: &Device,
        p: &BatchNormParams,
        x: Slice,
        channels: [Slice; 3],
        dy: Slice,
        out: &ChannelGradients,
        dx: Slice,
        dx_write: Write,
        workspace: Slice,
    ) {
        let workspace = workspace.scratch(backward_workspace_len(p));
        let coefficients = workspace.from(gradients_workspace_len(p));
        self.gradients(device, p, x, channels, dy, out, coefficients, workspace);
        let columns = maps(p);
        let [_, mean, _] = channels;
        let add = u32::from(dx_write == Write::Add);
        let args = (columns, x.ptr, mean.ptr, coefficients.ptr, dy.ptr, dx.ptr, add);
        // SAFETY: the caller has checked the lengths against `p`; the workspace has room for three coefficients a channel.
        unsafe { self.batch_norm_backward.launch(device, columns.grid(), args) }
    }
}
