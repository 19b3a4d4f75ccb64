//! The norm of a gradient, and its reduction to a largest norm:
//!
//! ```text
//! norm = sqrt(sum x^2)
//! x *= min(1, max_norm / (norm + 1e-6))
//! ```
//!
//! The squares neither overflow nor underflow on the way to a norm that f32 holds. A value that is NaN makes the norm
//! NaN, and an infinite one makes it infinite. Aliasing: all operands are disjoint.
//! Source: PyTorch's `clip_grad_norm_`. A norm that is NaN leaves the values as they are, of which one is NaN; PyTorch
//! makes all of them NaN.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use crate::loops::total_workspace_len;
use crate::ops::add;
use crate::ops::prelude::*;

/// `norm = sqrt(sum x^2)`
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Values; may be empty.
    pub x: Span,
    /// Their norm, one element.
    pub norm: Span,
}

impl Pass for Norm {
    fn name(&self) -> &'static str {
        "clip_norm.norm"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.norm]);
    }

    fn check(&self) {
        assert_eq!(self.norm.len, 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.x.len
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [norm]) = memory.views([self.x], [self.norm]);
        norm[0] = reference::norm(x);
    }

    fn cpu_workspace_len(&self, _: &Cpu) -> usize {
        total_workspace_len(self.x.len)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [norm, workspace]) = memory.views([self.x], [self.norm, cx.workspace]);
        norm[0] = cpu::norm(cpu, x, scratch(workspace, self.cpu_workspace_len(cpu)));
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::norm_workspace_len(self.x.len)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, norm, workspace] = memory.slices([self.x, self.norm, cx.workspace]);
        gpu.kernels::<cuda::Kernels>().norm(&gpu.device, x, norm, workspace);
    }
}

/// `x *= min(1, max_norm / (norm + 1e-6))`
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    /// The largest norm; may be infinite.
    pub max_norm: f64,
    /// The [`Norm`] of the values, one element.
    pub norm: Span,
    /// Values, updated.
    pub x: Span,
}

impl Pass for Clip {
    fn name(&self) -> &'static str {
        "clip_norm.clip"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.norm]);
        visit.update([&mut self.x]);
    }

    fn check(&self) {
        assert_eq!(self.norm.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([norm], [x]) = memory.views([self.norm], [self.x]);
        let factor = reference::factor(self.max_norm, norm[0]);
        x.iter_mut().for_each(|x| *x *= factor);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([norm], [x]) = memory.views([self.norm], [self.x]);
        add::cpu::scale(cpu, reference::factor(self.max_norm, norm[0].into()), None, x, Write::Set);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [norm, x] = memory.slices([self.norm, self.x]);
        gpu.kernels::<cuda::Kernels>().clip(&gpu.device, self.max_norm, norm, x);
    }
}
