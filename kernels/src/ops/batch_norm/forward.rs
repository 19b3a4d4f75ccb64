//! `y`: with the statistics of the batch, with given ones, and with the running ones.

#[cfg(feature = "cuda")]
use super::cuda;
use super::params::BatchNormParams;
use super::{cpu, reference};
use crate::ops::prelude::*;

/// Normalizes with the batch statistics, writes them, and updates the running statistics. All operands but `x` and `y`
/// are `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Running mean, updated.
    pub running_mean: Span,
    /// Running variance, updated.
    pub running_var: Span,
    /// Mean of the batch, written.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch, written.
    pub rstd: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "batch_norm.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.gamma, &mut self.beta]);
        visit.update([&mut self.running_mean, &mut self.running_var]);
        visit.set([&mut self.mean, &mut self.rstd]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        let p = &self.params;
        let channels = [self.gamma, self.beta, self.running_mean, self.running_var, self.mean, self.rstd];
        assert!(p.are_rows([self.x, self.y]) && p.are_channels(channels), "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let Forward { params, x, gamma, beta, mean, rstd, y, .. } = *self;
        let writes = [self.mean, self.rstd, self.running_mean, self.running_var];
        let ([values], [means, rstds, running_mean, running_var]) = memory.views([x], writes);
        let mut var = vec![0.0; params.channels];
        reference::batch_stats(values, means, &mut var);
        rstds.copy_from_slice(&reference::rstd(&params, &var));
        reference::update_running(&params, [means, &var], [running_mean, running_var]);
        Apply { params, x, gamma, beta, mean, rstd, y }.reference(memory, cx);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let writes = [self.y, self.running_mean, self.running_var, self.mean, self.rstd, cx.workspace];
        let ([x, gamma, beta], [y, running_mean, running_var, mean, rstd, workspace]) =
            memory.views_in_place([self.x, self.gamma, self.beta], writes);
        let [gamma, beta] = [gamma, beta].map(distinct);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let stats = cpu::ForwardStats { running_mean, running_var, mean, rstd };
        cpu::forward_stats(cpu, &self.params, x.unwrap_or(y), stats, workspace);
        cpu::apply(cpu, &self.params, x, [gamma, beta, mean, rstd], y);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::batch_stats_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, gamma, beta, y, workspace] = memory.slices([self.x, self.gamma, self.beta, self.y, cx.workspace]);
        let [mean, rstd] = memory.slices([self.mean, self.rstd]);
        let [running_mean, running_var] = memory.slices([self.running_mean, self.running_var]);
        let stats = cuda::ForwardStats { running_mean, running_var, mean, rstd };
        let kernels = gpu.kernels::<cuda::Kernels>();
        kernels.forward_stats(&gpu.device, &self.params, x, &stats, workspace);
        kernels.apply(&gpu.device, &self.params, x, [gamma, beta, mean, rstd], y);
    }
}

/// Normalizes with given statistics: `y` of [`Forward`] once more, to the same bits. All operands but `x` and `y` are
/// `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Apply {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Mean of the batch.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch.
    pub rstd: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
}

impl Pass for Apply {
    fn name(&self) -> &'static str {
        "batch_norm.apply"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.gamma, &mut self.beta, &mut self.mean, &mut self.rstd]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        let p = &self.params;
        let channels = [self.gamma, self.beta, self.mean, self.rstd];
        assert!(p.are_rows([self.x, self.y]) && p.are_channels(channels), "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.x, self.y);
        let (channels, [y]) = memory.views([self.gamma, self.beta, self.mean, self.rstd], [self.y]);
        reference::apply_in_place(channels, y);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let reads = [self.x, self.gamma, self.beta, self.mean, self.rstd];
        let ([x, channels @ ..], [y]) = memory.views_in_place(reads, [self.y]);
        cpu::apply(cpu, &self.params, x, channels.map(distinct), y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        let channels = memory.slices([self.gamma, self.beta, self.mean, self.rstd]);
        gpu.kernels::<cuda::Kernels>().apply(&gpu.device, &self.params, x, channels, y);
    }
}

/// Normalizes with the running statistics. All operands but `x` and `y` are `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Inference {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Input `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Offset.
    pub beta: Span,
    /// Running mean.
    pub running_mean: Span,
    /// Running variance.
    pub running_var: Span,
    /// Output `[rows, channels]`; may be `x`.
    pub y: Span,
}

impl Pass for Inference {
    fn name(&self) -> &'static str {
        "batch_norm.inference"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.gamma, &mut self.beta, &mut self.running_mean, &mut self.running_var]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        let p = &self.params;
        let channels = [self.gamma, self.beta, self.running_mean, self.running_var];
        assert!(p.are_rows([self.x, self.y]) && p.are_channels(channels), "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.x, self.y);
        let reads = [self.gamma, self.beta, self.running_mean, self.running_var];
        let ([gamma, beta, mean, var], [y]) = memory.views(reads, [self.y]);
        reference::apply_in_place([gamma, beta, mean, &reference::rstd(&self.params, var)], y);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let reads = [self.x, self.gamma, self.beta, self.running_mean, self.running_var];
        let ([x, channels @ ..], [y]) = memory.views_in_place(reads, [self.y]);
        cpu::inference(cpu, &self.params, x, channels.map(distinct), y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        let channels = memory.slices([self.gamma, self.beta, self.running_mean, self.running_var]);
        gpu.kernels::<cuda::Kernels>().inference(&gpu.device, &self.params, x, channels, y);
    }
}
