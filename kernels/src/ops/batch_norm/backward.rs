//! The gradients, each in a tensor of its own.

#[cfg(feature = "cuda")]
use super::cuda;
use super::params::BatchNormParams;
use super::{cpu, reference};
#[cfg(feature = "cuda")]
use crate::gpu::{CudaMemory, Gpu, Slice};
use crate::ops::prelude::*;

/// The gradients of [`Forward`](super::Forward), through the batch statistics too. Each of the three is empty if it is
/// not wanted. All operands but `x`, `dy` and `dx` are `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shape and constants.
    pub params: BatchNormParams,
    /// Input of the forward pass `[rows, channels]`.
    pub x: Span,
    /// Scale.
    pub gamma: Span,
    /// Mean of the batch, from the forward pass.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch, from the forward pass.
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
    /// Gradient of the input `[rows, channels]`; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub dx_write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "batch_norm.backward"
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
        assert!(p.are_rows([self.x, self.dy]), "lengths of {self:?}");
        assert!(self.dx.is_empty() || p.are_rows([self.dx]), "lengths of {self:?}");
        assert!(p.are_channels([self.gamma, self.mean, self.rstd]), "lengths of {self:?}");
        assert!(p.are_channels_or_absent([self.dgamma, self.dbeta]), "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let p = &self.params;
        // A copy, for `dx` may be `dy`.
        let dy = memory.get(self.dy).to_vec();
        let reads = [self.x, self.gamma, self.mean, self.rstd];
        let ([x, gamma, mean, rstd], [dgamma, dbeta, dx]) = memory.views(reads, [self.dgamma, self.dbeta, self.dx]);
        let sums = reference::backward_sums(p, [x, mean, rstd, &dy]);
        reference::put(dgamma, &sums[0], self.dgamma_write);
        reference::put(dbeta, &sums[1], self.dbeta_write);
        reference::backward_input(p, [x, gamma, mean, rstd, &dy], &sums, dx, self.dx_write);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let p = &self.params;
        let reads = [self.x, self.gamma, self.mean, self.rstd, self.dy];
        let writes = [self.dx, self.dgamma, self.dbeta, cx.workspace];
        let ([x, gamma, mean, rstd, dy], [dx, dgamma, dbeta, workspace]) = memory.views_in_place(reads, writes);
        let [x, gamma, mean, rstd] = [x, gamma, mean, rstd].map(distinct);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let sums = cpu::backward_sums(cpu, p, [x, dy.unwrap_or(dx)], [mean, rstd], workspace);
        cpu::put_sums(dgamma, sums[0], self.dgamma_write);
        cpu::put_sums(dbeta, sums[1], self.dbeta_write);
        if !dx.is_empty() {
            cpu::backward_input(cpu, p, [x, gamma, mean, rstd], sums, dy, (dx, self.dx_write));
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
        let (kernels, device) = (gpu.kernels::<cuda::Kernels>(), &gpu.device);
        if dx.len > 0 {
            kernels.backward(device, &self.params, inputs, out, (dx, self.dx_write), workspace);
        } else {
            kernels.gradients(device, &self.params, inputs, out, Slice::EMPTY, workspace);
        }
    }
}
