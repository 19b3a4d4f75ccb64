//! Launches the kernels of `epilogue.cu`.

use super::params::EpilogueParams;
use crate::gpu::columns::Columns;
use crate::gpu::{Arg, Device, Ptr, Slice, kernels};
use crate::ops::activation::Activation;
use crate::ops::{batch_norm, conv2d};
use crate::pass::Write;

kernels!("epilogue" {
    epilogue_forward_any: 256 (Columns, u32, f32, Ptr, Ptr, Ptr, Ptr),
    epilogue_forward_identity: 256 (Columns, u32, f32, Ptr, Ptr, Ptr, Ptr),
    epilogue_forward_gelu: 256 (Columns, u32, f32, Ptr, Ptr, Ptr, Ptr),
    epilogue_forward_sigmoid: 256 (Columns, u32, f32, Ptr, Ptr, Ptr, Ptr),
    epilogue_backward_any: 256 (Columns, u32, f32, Ptr, Norm, Ptr, Ptr, Ptr, Ptr),
    epilogue_backward_identity: 256 (Columns, u32, f32, Ptr, Norm, Ptr, Ptr, Ptr, Ptr),
    epilogue_backward_gelu: 256 (Columns, u32, f32, Ptr, Norm, Ptr, Ptr, Ptr, Ptr),
    epilogue_backward_sigmoid: 256 (Columns, u32, f32, Ptr, Norm, Ptr, Ptr, Ptr, Ptr),
});

/// `ROWS` in epilogue.cu.
const ROWS: usize = 16;

/// `Norm` in epilogue.cu: the operands of [`NormGradient`](super::NormGradient).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    dy: Ptr,
    x: Ptr,
    mean: Ptr,
    coefficients: Ptr,
}

// SAFETY: `Norm` in epilogue.cu has the same fields.
unsafe impl Arg for Norm {}

/// Operands of [`Kernels::forward`]; those that are absent are empty.
pub(crate) struct ForwardOperands {
    pub(crate) z: Slice,
    pub(crate) skip: Slice,
    pub(crate) y: Slice,
    /// Mean and variance of `y`.
    pub(crate) batch_stats: [Slice; 2],
}

/// Operands of [`Kernels::backward`]; those that are absent are empty.
pub(crate) struct BackwardOperands {
    pub(crate) saved: Slice,
    /// `dy`, `x`, `mean` and `coefficients` of the batch normalization.
    pub(crate) norm: [Slice; 4],
    pub(crate) dy: Slice,
    pub(crate) total: Slice,
    pub(crate) dz: Slice,
    pub(crate) db: Slice,
    pub(crate) db_write: Write,
}

/// How the kernels walk the rows.
fn columns(p: &EpilogueParams) -> Columns {
    Columns::new(p.rows, p.channels, ROWS)
}

/// Elements of scratch for the forward pass.
pub(crate) fn forward_workspace_len(p: &EpilogueParams) -> usize {
    3 * columns(p).cells()
}

/// Elements of scratch for the backward pass.
pub(crate) fn backward_workspace_len(p: &EpilogueParams) -> usize {
    columns(p).cells()
}

/// The number of an activation in common.cuh; the identity has the one after the last.
fn number(activation: Option<Activation>) -> u32 {
    activation.map_or(Activation::ALL.len() as u32, |f| f as u32)
}

// The pass has checked the lengths of all slices against `p`. An operand that is absent is empty, and has address 0.
impl Kernels {
    /// `y = f(z) + skip_weight skip`, and the batch statistics of `y` unless they are absent; `y` may be `z`.
    pub(crate) fn forward(
        &self,
        device: &Device,
        batch_norm: &batch_norm::cuda::Kernels,
        p: &EpilogueParams,
        o: &ForwardOperands,
        workspace: Slice,
    ) {
        let columns = columns(p);
        let wants_stats = o.batch_stats[0].len > 0;
        let partial = if wants_stats { workspace.scratch(forward_workspace_len(p)) } else { Slice::EMPTY };
        let kernel = match p.activation {
            None => &self.epilogue_forward_identity,
            Some(Activation::Gelu) => &self.epilogue_forward_gelu,
            Some(Activation::Sigmoid) => &self.epilogue_forward_sigmoid,
            Some(_) => &self.epilogue_forward_any,
        };
        let (f, weight) = (number(p.activation), p.skip_weight as f32);
        let args = (columns, f, weight, o.z.ptr, o.skip.ptr, o.y.ptr, partial.ptr);
        // SAFETY: the lengths are checked against `p`, and operands that are absent have address 0; the workspace has
        // three values for each chunk.
        unsafe { kernel.launch(device, columns.grid(), args) }
        if wants_stats {
            batch_norm.finish_batch_stats(device, columns, partial, o.batch_stats);
        }
    }

    /// `dz`, and `total` and `db` unless they are absent; `dz` may be the norm's `dy` or, if that is absent, `dy`.
    pub(crate) fn backward(
        &self,
        device: &Device,
        conv2d: &conv2d::cuda::Kernels,
        p: &EpilogueParams,
        o: &BackwardOperands,
        workspace: Slice,
    ) {
        let columns = columns(p);
        let partial = if o.db.len > 0 { workspace.scratch(backward_workspace_len(p)) } else { Slice::EMPTY };
        let [dy, x, mean, coefficients] = o.norm.map(|operand| operand.ptr);
        let norm = Norm { dy, x, mean, coefficients };
        let kernel = match p.activation {
            None => &self.epilogue_backward_identity,
            Some(Activation::Gelu) => &self.epilogue_backward_gelu,
            Some(Activation::Sigmoid) => &self.epilogue_backward_sigmoid,
            Some(_) => &self.epilogue_backward_any,
        };
        let (f, weight) = (number(p.activation), p.dy_weight as f32);
        let args = (columns, f, weight, o.saved.ptr, norm, o.dy.ptr, o.total.ptr, o.dz.ptr, partial.ptr);
        // SAFETY: the lengths are checked against `p`, and operands that are absent have address 0; the workspace has a
        // value for each chunk.
        unsafe { kernel.launch(device, columns.grid(), args) }
        if o.db.len > 0 {
            conv2d.finish_bias(device, columns, partial, o.db, o.db_write);
        }
    }
}
