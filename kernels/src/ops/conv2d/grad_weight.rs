//! [`GradWeight`]: the gradient of the weight.

use super::affine::{Affine, Mapped};
use super::algo::{Algo, PassKind};
#[cfg(feature = "cuda")]
use super::cuda;
use super::operands::WeightGradient;
use super::params::Conv2dParams;
use super::{cpu, reference};
use crate::ops::prelude::*;

/// `dw (+)= x^T dy` for every tap. In a transposed convolution, `x` is the gradient of the output, and `dy` the input.
#[derive(Clone, Copy, Debug)]
pub struct GradWeight {
    /// Shape.
    pub params: Conv2dParams,
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// How `x` is read, `[c]`.
    pub x_map: Affine,
    /// Gradient of the output `[n,p,q,k]`.
    pub dy: Span,
    /// How `dy` is read, `[k]`: it is the input of a transposed convolution. At most one of the two is mapped.
    pub dy_map: Affine,
    /// Gradient of the weight `[r,s,c/groups,k]`, set or added to.
    pub dw: Span,
    /// Whether `dw` is set or added to.
    pub write: Write,
    /// The CPU's algorithm; `None` until the pass is prepared, or to let the CPU choose.
    pub algo: Option<Algo>,
}

impl GradWeight {
    /// What is read.
    fn reads(&self) -> [Span; 6] {
        [self.x, self.x_map.scale, self.x_map.shift, self.dy, self.dy_map.scale, self.dy_map.shift]
    }

    /// The operands, given what a backend makes of [`reads`](Self::reads) and of `dw`.
    fn with<R, W>(&self, reads: [R; 6], dw: W) -> WeightGradient<'_, R, W> {
        let [x, x_scale, x_shift, dy, dy_scale, dy_shift] = reads;
        let x = Mapped { values: x, scale: x_scale, shift: x_shift };
        let dy = Mapped { values: dy, scale: dy_scale, shift: dy_shift };
        WeightGradient { params: &self.params, x, dy, dw, write: self.write }
    }

    pub(super) fn algo(&self, cpu: &Cpu) -> Algo {
        self.algo.unwrap_or_else(|| cpu.conv2d_algo(&self.params, PassKind::GradWeight))
    }
}

impl GradWeight {
    /// Runs it on the CPU with other operands: values of `x`, its scale and shift, the same of `dy`, and `dw`.
    pub(in crate::ops) fn cpu_with(&self, cpu: &Cpu, reads: [&[f32]; 6], dw: &mut [f32], workspace: &mut [f32]) {
        let workspace = &mut workspace[..self.cpu_workspace_len(cpu)];
        cpu::grad_weight(cpu, self.algo(cpu), self.with(reads, dw), workspace);
    }
}

impl Pass for GradWeight {
    fn name(&self) -> &'static str {
        "conv2d.grad_weight"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.x_map.scale, &mut self.x_map.shift]);
        visit.read([&mut self.dy, &mut self.dy_map.scale, &mut self.dy_map.shift]);
        visit.write(&mut self.dw, self.write);
    }

    fn check(&self) {
        let p = &self.params;
        p.check(self.x, self.dw, self.dy);
        self.x_map.check(p.c);
        self.dy_map.check(p.k);
        assert!(self.x_map.is_none() || self.dy_map.is_none(), "at most one operand is mapped");
        assert!(self.algo.is_none_or(|algo| algo.supports(p)), "{:?} cannot compute {p:?}", self.algo);
    }

    fn flops(&self) -> usize {
        self.params.flops()
    }

    fn longest_sum(&self) -> usize {
        let p = &self.params;
        p.n * p.p * p.q
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (reads, [dw]) = memory.views(self.reads(), [self.dw]);
        reference::grad_weight(self.with(reads, dw));
    }

    fn prepare_cpu(&mut self, cpu: &Cpu) {
        self.algo = Some(self.algo(cpu));
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        let is_mapped = !(self.x_map.is_none() && self.dy_map.is_none());
        cpu::grad_weight_workspace_len(cpu, self.algo(cpu), &self.params, is_mapped)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let (reads, [dw, workspace]) = memory.views(self.reads(), [self.dw, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::grad_weight(cpu, self.algo(cpu), self.with(reads, dw), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_limit(&self) -> Option<String> {
        cuda::limit(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::grad_weight_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let (reads, [dw, workspace]) = (memory.slices(self.reads()), memory.slices([self.dw, cx.workspace]));
        cuda::grad_weight(gpu, &self.with(reads, dw), workspace);
    }
}
