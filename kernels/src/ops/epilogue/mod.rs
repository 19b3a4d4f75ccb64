//! What follows a convolution in a layer, in one pass over memory: the activation, the addition of a skip connection,
//! and the batch statistics that the next layer's batch normalization needs.
//!
//! `z`, the output of the convolution, is `[rows, channels]`, with `rows = N P Q`.
//!
//! ```text
//! Forward    y = f(z) + skip_weight skip
//!            mean, var = batch statistics of y
//! Backward   total = a g + b (y - mean) + c + dy_weight dy
//!            dz = total f'(z)           db = sum of the rows of dz
//! ```
//!
//! `total` is the gradient of `y`. It has two parts, of which one may be absent:
//!
//! - The gradient through a batch normalization that reads `y`. `g` is the gradient of the normalized values; `a`, `b`
//!   and `c` are the coefficients of [`batch_norm::Gradients`]. So this gradient needs no pass of its own.
//! - `dy`, the gradient that comes from elsewhere, such as from a skip connection.
//!
//! The activation and the skip may be absent, too. `y` and `dz` are always written; other results if they are wanted.
//!
//! Aliasing: `y` may be `z` itself. `dz` may be `g` itself or, if there is no `g`, `dy` itself. All other operands are
//! disjoint.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::EpilogueParams;

use crate::ops::batch_norm;
#[cfg(feature = "cuda")]
use crate::ops::conv2d;
use crate::ops::prelude::*;

/// Whether every operand has `len` elements, or is absent.
fn have_len_or_none<const N: usize>(len: usize, operands: [Span; N]) -> bool {
    operands.iter().all(|operand| operand.is_empty() || operand.len == len)
}

/// The output, and its batch statistics.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shape and constants.
    pub params: EpilogueParams,
    /// Output of the convolution `[rows, channels]`.
    pub z: Span,
    /// What is added `[rows, channels]`, or empty.
    pub skip: Span,
    /// Output `[rows, channels]`; may be `z`.
    pub y: Span,
    /// Mean of the channels of `y`, written; empty if it is not wanted.
    pub mean: Span,
    /// Variance of the channels of `y`, with divisor `rows`, written; empty if and only if `mean` is.
    pub var: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "epilogue.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.z]);
        visit.read([&mut self.skip]);
        visit.output(&mut self.y, Write::Set);
        visit.set([&mut self.mean, &mut self.var]);
    }

    fn check(&self) {
        let p = &self.params;
        assert!(self.z.len == p.len() && self.y.len == p.len(), "lengths of {self:?}");
        assert!(have_len_or_none(p.len(), [self.skip]), "lengths of {self:?}");
        assert!(have_len_or_none(p.channels, [self.mean, self.var]), "lengths of {self:?}");
        assert_eq!(self.mean.is_empty(), self.var.is_empty(), "both batch statistics are wanted, or none: {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.z, self.y);
        let ([skip], [y, mean, var]) = memory.views([self.skip], [self.y, self.mean, self.var]);
        reference::forward_in_place(&self.params, skip, y);
        if !mean.is_empty() {
            batch_norm::reference::batch_stats(y, mean, var);
        }
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::forward_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([z, skip], [y, mean, var, workspace]) =
            memory.views_in_place([self.z, self.skip], [self.y, self.mean, self.var, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let operands = cpu::ForwardOperands { z, skip: distinct(skip), y, batch_stats: [mean, var] };
        cpu::forward(cpu, &self.params, operands, workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::forward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [z, skip, y] = memory.slices([self.z, self.skip, self.y]);
        let [mean, var, workspace] = memory.slices([self.mean, self.var, cx.workspace]);
        let operands = cuda::ForwardOperands { z, skip, y, batch_stats: [mean, var] };
        let (kernels, batch_norm) = (gpu.kernels::<cuda::Kernels>(), gpu.kernels::<batch_norm::cuda::Kernels>());
        kernels.forward(&gpu.device, batch_norm, &self.params, &operands, workspace);
    }
}

/// A gradient through a batch normalization, before its coefficients are applied. All operands are empty if it is
/// absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormGradient {
    /// `g`: the gradient of the normalized values `[rows, channels]`.
    pub dy: Span,
    /// What was normalized `[rows, channels]`.
    pub x: Span,
    /// Mean of the batch `[channels]`.
    pub mean: Span,
    /// `a`, `b` and `c` `[3, channels]`.
    pub coefficients: Span,
}

impl NormGradient {
    /// No gradient.
    pub const NONE: NormGradient =
        NormGradient { dy: Span::EMPTY, x: Span::EMPTY, mean: Span::EMPTY, coefficients: Span::EMPTY };
}

/// The gradients of [`Forward`], of the next batch normalization, and of the convolution's bias.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shape and constants.
    pub params: EpilogueParams,
    /// `z`, or `f(z)`, as [`Activation::saved`](crate::activation::Activation::saved) says; empty if there is no
    /// activation.
    pub saved: Span,
    /// Gradient that comes from a batch normalization of `y`.
    pub norm: NormGradient,
    /// Gradient that comes from elsewhere `[rows, channels]`, or empty; one of the two is there.
    pub dy: Span,
    /// Gradient of `y` `[rows, channels]`, written; empty if it is not wanted. Without an activation it is `dz`, and
    /// empty here.
    pub total: Span,
    /// Gradient of `z` `[rows, channels]`, written; may be `norm.dy` or, if that is empty, `dy`.
    pub dz: Span,
    /// Sum of the rows of `dz` `[channels]`; empty if it is not wanted.
    pub db: Span,
    /// Whether `db` is set or added to.
    pub db_write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "epilogue.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        let norm = &mut self.norm;
        // `dz` is written while `dy` is still read, unless there is no other gradient.
        let dy_alone = norm.dy.is_empty();
        visit.read([&mut self.saved]);
        visit.read_in_place([&mut norm.dy]);
        visit.read([&mut norm.x, &mut norm.mean, &mut norm.coefficients]);
        if dy_alone {
            visit.read_in_place([&mut self.dy]);
        } else {
            visit.read([&mut self.dy]);
        }
        visit.write(&mut self.db, self.db_write);
        visit.set([&mut self.total]);
        visit.output(&mut self.dz, Write::Set);
    }

    fn check(&self) {
        let Backward { params: p, saved, norm, dy, total, dz, db, .. } = *self;
        assert_eq!(dz.len, p.len(), "lengths of {self:?}");
        assert!(have_len_or_none(p.len(), [saved, norm.dy, norm.x, dy, total]), "lengths of {self:?}");
        assert!(have_len_or_none(p.channels, [norm.mean, db]), "lengths of {self:?}");
        assert!(have_len_or_none(3 * p.channels, [norm.coefficients]), "lengths of {self:?}");
        assert_eq!(saved.is_empty(), p.activation.is_none(), "an activation, and what it saved: {self:?}");
        let absent = [norm.dy, norm.x, norm.mean, norm.coefficients].map(|span| span.is_empty());
        assert!(absent == [absent[0]; 4], "all of a batch normalization, or nothing: {self:?}");
        assert!(!(norm.dy.is_empty() && dy.is_empty()), "a gradient comes from somewhere: {self:?}");
        assert!(total.is_empty() || p.activation.is_some(), "without an activation the total is `dz`: {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let norm = [self.norm.dy, self.norm.x, self.norm.mean, self.norm.coefficients];
        let total = reference::total(&self.params, norm.map(|operand| memory.get(operand)), memory.get(self.dy));
        let ([saved], [dz, sum, db]) = memory.views([self.saved], [self.dz, self.total, self.db]);
        if !sum.is_empty() {
            sum.copy_from_slice(&total);
        }
        reference::backward(&self.params, saved, &total, dz);
        if !db.is_empty() {
            reference::grad_bias(dz, db, self.db_write);
        }
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::backward_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let norm = self.norm;
        let reads = [self.saved, norm.dy, norm.x, norm.mean, norm.coefficients, self.dy];
        let ([saved, norm_dy, x, mean, coefficients, dy], [dz, total, db, workspace]) =
            memory.views_in_place(reads, [self.dz, self.total, self.db, cx.workspace]);
        let [saved, x, mean, coefficients] = [saved, x, mean, coefficients].map(distinct);
        let norm = (!x.is_empty()).then_some(cpu::Norm { dy: norm_dy, x, mean, coefficients });
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let operands = cpu::BackwardOperands { saved, norm, dy, total, dz, db, db_write: self.db_write };
        cpu::backward(cpu, &self.params, operands, workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::backward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let norm = memory.slices([self.norm.dy, self.norm.x, self.norm.mean, self.norm.coefficients]);
        let [saved, dy, total] = memory.slices([self.saved, self.dy, self.total]);
        let [dz, db, workspace] = memory.slices([self.dz, self.db, cx.workspace]);
        let operands = cuda::BackwardOperands { saved, norm, dy, total, dz, db, db_write: self.db_write };
        let (kernels, conv2d) = (gpu.kernels::<cuda::Kernels>(), gpu.kernels::<conv2d::cuda::Kernels>());
        kernels.backward(&gpu.device, conv2d, &self.params, &operands, workspace);
    }
}
