//! Group normalization: over all pixels and some channels of an image. `x` is `[n, rows, channels]`, with `H W` rows.
//! The channels are cut into groups of neighbours; `g` is that of channel `c`.
//!
//! ```text
//! m = rows channels / groups, the values of a group in an image
//! mean[n,g] = 1/m sum x     var[n,g] = 1/m sum (x - mean)^2     rstd = 1 / sqrt(var + eps)     xhat = (x - mean) rstd
//!
//! Forward     y = gamma[c] xhat + beta[c]
//! Apply       y = gamma[c] xhat + beta[c], with mean and rstd as they were
//! Backward    dbeta[c] = sum dy      dgamma[c] = sum dy xhat                           over images and rows
//!             dx = rstd (gamma[c] dy - 1/m sum gamma dy - xhat 1/m sum gamma dy xhat)  over the group in the image
//! ```
//!
//! [`Forward`] writes `mean` and `rstd`, `[n, groups]`, and [`Backward`] reads them. [`Apply`] computes `y` once more,
//! as that of [batch normalization](crate::batch_norm) does. With one group it is a layer normalization of the image,
//! with as many as channels an instance normalization.
//!
//! Aliasing: `y` may be `x` itself. `dx` may be `dy` itself if it is set. All other operands are disjoint.
//!
//! Source: Wu & He, "Group Normalization", 2018; conventions of PyTorch's `GroupNorm`.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::GroupNormParams;

use crate::ops::batch_norm::cpu::put_sums;
use crate::ops::prelude::*;

/// Normalizes, and writes the statistics.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shape and constants.
    pub params: GroupNormParams,
    /// Input `[n, rows, channels]`.
    pub x: Span,
    /// Scale `[channels]`.
    pub gamma: Span,
    /// Offset `[channels]`.
    pub beta: Span,
    /// Means `[n, groups]`, written.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` `[n, groups]`, written.
    pub rstd: Span,
    /// Output `[n, rows, channels]`; may be `x`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "group_norm.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.gamma, &mut self.beta]);
        visit.set([&mut self.mean, &mut self.rstd]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        self.params.check(&[self.x, self.y], &[self.gamma, self.beta], &[self.mean, self.rstd]);
    }

    fn longest_sum(&self) -> usize {
        self.params.group_len()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let Forward { params, x, gamma, beta, mean, rstd, y } = *self;
        let ([values], [means, rstds]) = memory.views([x], [mean, rstd]);
        reference::statistics(&params, values, means, rstds);
        Apply { params, x, gamma, beta, mean, rstd, y }.reference(memory, cx);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::statistics_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let writes = [self.y, self.mean, self.rstd, cx.workspace];
        let ([x, gamma, beta], [y, mean, rstd, workspace]) =
            memory.views_in_place([self.x, self.gamma, self.beta], writes);
        let [gamma, beta] = [gamma, beta].map(distinct);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::statistics(cpu, &self.params, x.unwrap_or(y), [mean, rstd], workspace);
        cpu::apply(cpu, &self.params, x, [gamma, beta, mean, rstd], y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, gamma, beta, mean, rstd, y] =
            memory.slices([self.x, self.gamma, self.beta, self.mean, self.rstd, self.y]);
        let kernels = gpu.kernels::<cuda::Kernels>();
        kernels.statistics(&gpu.device, &self.params, x, [mean, rstd]);
        kernels.apply(&gpu.device, &self.params, x, [gamma, beta, mean, rstd], y);
    }
}

/// Normalizes with given statistics: `y` of [`Forward`] once more, to the same bits.
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    /// Shape and constants.
    pub params: GroupNormParams,
    /// Input `[n, rows, channels]`.
    pub x: Span,
    /// Scale `[channels]`.
    pub gamma: Span,
    /// Offset `[channels]`.
    pub beta: Span,
    /// Means `[n, groups]`.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` `[n, groups]`.
    pub rstd: Span,
    /// Output `[n, rows, channels]`; may be `x`.
    pub y: Span,
}

impl Pass for Apply {
    fn name(&self) -> &'static str {
        "group_norm.apply"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.gamma, &mut self.beta, &mut self.mean, &mut self.rstd]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        self.params.check(&[self.x, self.y], &[self.gamma, self.beta], &[self.mean, self.rstd]);
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.x, self.y);
        let (operands, [y]) = memory.views([self.gamma, self.beta, self.mean, self.rstd], [self.y]);
        reference::apply_in_place(&self.params, operands, y);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let reads = [self.x, self.gamma, self.beta, self.mean, self.rstd];
        let ([x, operands @ ..], [y]) = memory.views_in_place(reads, [self.y]);
        cpu::apply(cpu, &self.params, x, operands.map(distinct), y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        let operands = memory.slices([self.gamma, self.beta, self.mean, self.rstd]);
        gpu.kernels::<cuda::Kernels>().apply(&gpu.device, &self.params, x, operands, y);
    }
}

/// The gradients of [`Forward`], through the statistics too. Each of the three is empty if it is not wanted.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shape and constants.
    pub params: GroupNormParams,
    /// Input of the forward pass `[n, rows, channels]`.
    pub x: Span,
    /// Scale `[channels]`.
    pub gamma: Span,
    /// Means `[n, groups]`, from the forward pass.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` `[n, groups]`, from the forward pass.
    pub rstd: Span,
    /// Gradient of the output `[n, rows, channels]`.
    pub dy: Span,
    /// Gradient of the scale `[channels]`.
    pub dgamma: Span,
    /// Whether `dgamma` is set or added to.
    pub dgamma_write: Write,
    /// Gradient of the offset `[channels]`.
    pub dbeta: Span,
    /// Whether `dbeta` is set or added to.
    pub dbeta_write: Write,
    /// Gradient of the input `[n, rows, channels]`; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub dx_write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "group_norm.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.gamma, &mut self.mean, &mut self.rstd]);
        visit.read_in_place([&mut self.dy]);
        visit.write(&mut self.dgamma, self.dgamma_write);
        visit.write(&mut self.dbeta, self.dbeta_write);
        visit.output(&mut self.dx, self.dx_write);
    }

    fn check(&self) {
        let p = &self.params;
        let or = |operand: Span, other: Span| if operand.is_empty() { other } else { operand };
        let of_channels = [self.gamma, or(self.dgamma, self.gamma), or(self.dbeta, self.gamma)];
        p.check(&[self.x, self.dy, or(self.dx, self.x)], &of_channels, &[self.mean, self.rstd]);
    }

    fn longest_sum(&self) -> usize {
        self.params.rows * self.params.images.max(self.params.of_group())
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        // A copy, for `dx` may be `dy`.
        let dy = memory.get(self.dy).to_vec();
        let reads = [self.x, self.gamma, self.mean, self.rstd];
        let ([x, gamma, mean, rstd], [dgamma, dbeta, dx]) = memory.views(reads, [self.dgamma, self.dbeta, self.dx]);
        let operands = [x, gamma, mean, rstd, &dy];
        reference::backward_parameters(&self.params, operands, (dgamma, self.dgamma_write), (dbeta, self.dbeta_write));
        if !dx.is_empty() {
            reference::backward_input(&self.params, operands, dx, self.dx_write);
        }
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::backward_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let reads = [self.x, self.gamma, self.mean, self.rstd, self.dy];
        let writes = [self.dx, self.dgamma, self.dbeta, cx.workspace];
        let ([x, gamma, mean, rstd, dy], [dx, dgamma, dbeta, workspace]) = memory.views_in_place(reads, writes);
        let [x, gamma, mean, rstd] = [x, gamma, mean, rstd].map(distinct);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let operands = [x, gamma, mean, rstd];
        let sums = cpu::backward_sums(cpu, &self.params, operands, dy.unwrap_or(dx), workspace);
        put_sums(dgamma, sums.dgamma, self.dgamma_write);
        put_sums(dbeta, sums.dbeta, self.dbeta_write);
        if !dx.is_empty() {
            cpu::backward_input(cpu, &self.params, operands, &sums, dy, (dx, self.dx_write));
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::backward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let inputs = memory.slices([self.x, self.gamma, self.mean, self.rstd, self.dy]);
        let [dgamma, dbeta, dx, workspace] = memory.slices([self.dgamma, self.dbeta, self.dx, cx.workspace]);
        let out = [(dgamma, self.dgamma_write), (dbeta, self.dbeta_write)];
        let kernels = gpu.kernels::<cuda::Kernels>();
        kernels.backward(&gpu.device, &self.params, inputs, out, (dx, self.dx_write), workspace);
    }
}
