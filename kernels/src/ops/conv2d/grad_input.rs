//! [`GradInput`]: the adjoint of the convolution.

use super::affine::{Affine, Mapped};
use super::algo::{Algo, PassKind};
#[cfg(feature = "cuda")]
use super::cuda;
use super::operands::Convolution;
use super::params::{Conv2dParams, Direction};
use super::{cpu, reference};
use crate::ops::prelude::*;

/// `dx (+)= conv^T(dy, w) + bias`. It is also the forward pass of a transposed convolution, which may have a bias.
#[derive(Clone, Copy, Debug)]
pub struct GradInput {
    /// Shape of the convolution, not of its adjoint.
    pub params: Conv2dParams,
    /// Gradient of the output `[n,p,q,k]`.
    pub dy: Span,
    /// How `dy` is read, `[k]`: it is the input of a transposed convolution.
    pub dy_map: Affine,
    /// Weight `[r,s,c/groups,k]`.
    pub w: Span,
    /// Bias `[c]` of a transposed convolution, or empty.
    pub bias: Span,
    /// Gradient of the input `[n,h,w,c]`, set or added to.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
    /// The CPU's algorithm; `None` until the pass is prepared, or to let the CPU choose.
    pub algo: Option<Algo>,
}

impl GradInput {
    /// What is read.
    fn reads(&self) -> [Span; 5] {
        [self.dy, self.dy_map.scale, self.dy_map.shift, self.w, self.bias]
    }

    /// The operands, given what a backend makes of [`reads`](Self::reads) and of `dx`.
    pub(super) fn with<R, W>(&self, [values, scale, shift, w, bias]: [R; 5], dx: W) -> Convolution<'_, R, W> {
        let (direction, input) = (Direction::Adjoint, Mapped { values, scale, shift });
        Convolution { direction, params: &self.params, input, w, bias, out: dx, write: self.write }
    }

    pub(super) fn algo(&self, cpu: &Cpu) -> Algo {
        self.algo.unwrap_or_else(|| cpu.conv2d_algo(&self.params, PassKind::GradInput))
    }
}

impl Pass for GradInput {
    fn name(&self) -> &'static str {
        "conv2d.grad_input"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.dy, &mut self.dy_map.scale, &mut self.dy_map.shift, &mut self.w, &mut self.bias]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        let p = &self.params;
        p.check(self.dx, self.w, self.dy);
        self.dy_map.check(p.k);
        assert!(self.bias.is_empty() || self.bias.len == p.c, "bias of {} for the adjoint of {p:?}", self.bias.len);
        assert!(self.algo.is_none_or(|algo| algo.supports(p)), "{:?} cannot compute {p:?}", self.algo);
    }

    fn flops(&self) -> usize {
        self.params.flops()
    }

    fn longest_sum(&self) -> usize {
        let p = &self.params;
        p.r * p.s * p.k / p.groups
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (reads, [dx]) = memory.views(self.reads(), [self.dx]);
        reference::convolve(self.with(reads, dx));
    }

    fn prepare_cpu(&mut self, cpu: &Cpu) {
        self.algo = Some(self.algo(cpu));
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        let is_mapped = !self.dy_map.is_none();
        cpu::convolve_workspace_len(cpu, self.algo(cpu), &self.params, Direction::Adjoint, is_mapped)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let (reads, [dx, workspace]) = memory.views(self.reads(), [self.dx, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::convolve(cpu, self.algo(cpu), self.with(reads, dx), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_limit(&self) -> Option<String> {
        cuda::limit(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let (reads, [dx]) = (memory.slices(self.reads()), memory.slices([self.dx]));
        cuda::convolve(gpu, &self.with(reads, dx));
    }
}
