//! What a fused layer does in place of the forward and the backward pass.

#[cfg(feature = "cuda")]
use super::cuda;
use super::params::BatchNormParams;
use super::{cpu, reference};
use crate::ops::prelude::*;

/// Mean and variance of every channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchStats {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// `[rows, channels]`
    pub x: Span,
    /// Mean `[channels]`, written.
    pub mean: Span,
    /// Variance `[channels]`, with divisor `rows`, written.
    pub var: Span,
}

impl Pass for BatchStats {
    fn name(&self) -> &'static str {
        "batch_norm.batch_stats"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.mean, &mut self.var]);
    }

    fn check(&self) {
        let p = &self.params;
        assert!(p.are_rows([self.x]) && p.are_channels([self.mean, self.var]), "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [mean, var]) = memory.views([self.x], [self.mean, self.var]);
        reference::batch_stats(x, mean, var);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [mean, var, workspace]) = memory.views([self.x], [self.mean, self.var, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::batch_stats(cpu, &self.params, x, [mean, var], workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::batch_stats_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, mean, var, workspace] = memory.slices([self.x, self.mean, self.var, cx.workspace]);
        gpu.kernels::<cuda::Kernels>().batch_stats(&gpu.device, &self.params, x, [mean, var], workspace);
    }
}

/// A normalization as an affine map a channel. Updates the running statistics if they are given. All operands are
/// `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Fold {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Mean to normalize with: of the batch, or the running one.
    pub mean: Span,
    /// Variance to normalize with: of the batch, with divisor `rows`, or the running one.
    pub var: Span,
    /// Running mean that `mean` updates; empty if it stays as it is.
    pub running_mean: Span,
    /// Running variance that `var` updates; empty if and only if `running_mean` is.
    pub running_var: Span,
    /// `1 / sqrt(var + eps)`, written; empty if it is not wanted.
    pub rstd: Span,
    /// Factor of the map, written.
    pub scale: Span,
    /// What the map adds, written.
    pub shift: Span,
}

impl Pass for Fold {
    fn name(&self) -> &'static str {
        "batch_norm.fold"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.gamma, &mut self.beta, &mut self.mean, &mut self.var]);
        visit.update([&mut self.running_mean, &mut self.running_var]);
        visit.set([&mut self.rstd, &mut self.scale, &mut self.shift]);
    }

    fn check(&self) {
        let p = &self.params;
        let channels = [self.gamma, self.beta, self.mean, self.var, self.scale, self.shift];
        let optional = [self.running_mean, self.running_var, self.rstd];
        assert!(p.are_channels(channels) && p.are_channels_or_absent(optional), "lengths of {self:?}");
        assert_eq!(self.running_mean.len, self.running_var.len, "both running statistics are given, or none: {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let p = &self.params;
        let writes = [self.rstd, self.scale, self.shift, self.running_mean, self.running_var];
        let ([gamma, beta, mean, var], [rstd, scale, shift, running_mean, running_var]) =
            memory.views([self.gamma, self.beta, self.mean, self.var], writes);
        let rstds = reference::rstd(p, var);
        reference::fold([gamma, beta, mean, &rstds], scale, shift);
        reference::put(rstd, &rstds, Write::Set);
        if !running_mean.is_empty() {
            reference::update_running(p, [mean, var], [running_mean, running_var]);
        }
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let p = &self.params;
        let writes = [self.rstd, self.scale, self.shift, self.running_mean, self.running_var];
        let ([gamma, beta, mean, var], [rstd, scale, shift, running_mean, running_var]) =
            memory.views([self.gamma, self.beta, self.mean, self.var], writes);
        cpu::fold(p, [gamma, beta, mean, var], rstd, scale, shift);
        if !running_mean.is_empty() {
            for c in 0..p.channels {
                let [mean, var] = [mean[c], var[c]].map(f64::from);
                cpu::update_running(p, mean, var, &mut running_mean[c], &mut running_var[c]);
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let inputs = memory.slices([self.gamma, self.beta, self.mean, self.var]);
        let running = memory.slices([self.running_mean, self.running_var]);
        let out = memory.slices([self.rstd, self.scale, self.shift]);
        gpu.kernels::<cuda::Kernels>().fold(&gpu.device, &self.params, inputs, running, out);
    }
}

/// Gradients of scale and offset, and the coefficients of the gradient of the input. Each of the three is empty if it
/// is not wanted. All operands but `x`, `dy` and `coefficients` are `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Gradients {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Input of the forward pass `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Mean of the batch.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch.
    pub rstd: Span,
    /// Gradient of the output `[rows, channels]`.
    pub dy: Span,
    /// Gradient of the scale.
    pub dgamma: Span,
    /// Whether `dgamma` is set or added to.
    pub dgamma_write: Write,
    /// Gradient of the offset.
    pub dbeta: Span,
    /// Whether `dbeta` is set or added to.
    pub dbeta_write: Write,
    /// `a`, `b` and `c` `[3, channels]`, written.
    pub coefficients: Span,
}

impl Pass for Gradients {
    fn name(&self) -> &'static str {
        "batch_norm.gradients"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.gamma, &mut self.mean, &mut self.rstd, &mut self.dy]);
        visit.write(&mut self.dgamma, self.dgamma_write);
        visit.write(&mut self.dbeta, self.dbeta_write);
        visit.set([&mut self.coefficients]);
    }

    fn check(&self) {
        let p = &self.params;
        assert!(p.are_rows([self.x, self.dy]), "lengths of {self:?}");
        assert!(p.are_channels([self.gamma, self.mean, self.rstd]), "lengths of {self:?}");
        assert!(p.are_channels_or_absent([self.dgamma, self.dbeta]), "lengths of {self:?}");
        assert!(self.coefficients.is_empty() || self.coefficients.len == 3 * p.channels, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let p = &self.params;
        let ([x, gamma, mean, rstd, dy], [dgamma, dbeta, coefficients]) = memory
            .views([self.x, self.gamma, self.mean, self.rstd, self.dy], [self.dgamma, self.dbeta, self.coefficients]);
        let sums = reference::backward_sums(p, [x, mean, rstd, dy]);
        reference::put(dgamma, &sums[0], self.dgamma_write);
        reference::put(dbeta, &sums[1], self.dbeta_write);
        if !coefficients.is_empty() {
            reference::coefficients(p, [gamma, rstd], &sums, coefficients);
        }
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let p = &self.params;
        let ([x, gamma, mean, rstd, dy], [dgamma, dbeta, coefficients, workspace]) = memory.views(
            [self.x, self.gamma, self.mean, self.rstd, self.dy],
            [self.dgamma, self.dbeta, self.coefficients, cx.workspace],
        );
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let sums = cpu::backward_sums(cpu, p, [x, dy], [mean, rstd], workspace);
        cpu::put_sums(dgamma, sums[0], self.dgamma_write);
        cpu::put_sums(dbeta, sums[1], self.dbeta_write);
        if !coefficients.is_empty() {
            cpu::coefficients(p, [gamma, rstd], sums, coefficients);
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::gradients_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let inputs = memory.slices([self.x, self.gamma, self.mean, self.rstd, self.dy]);
        let [dgamma, dbeta, coefficients, workspace] =
            memory.slices([self.dgamma, self.dbeta, self.coefficients, cx.workspace]);
        let out = [(dgamma, self.dgamma_write), (dbeta, self.dbeta_write)];
        let kernels = gpu.kernels::<cuda::Kernels>();
        kernels.gradients(&gpu.device, &self.params, inputs, out, coefficients, workspace);
    }
}
