//! [`Forward`]: the convolution.

use super::affine::{Affine, Mapped};
use super::algo::{Algo, PassKind};
#[cfg(feature = "cuda")]
use super::cuda;
use super::operands::Convolution;
use super::params::{Conv2dParams, Direction};
use super::{cpu, reference};
use crate::ops::prelude::*;

/// `y (+)= conv(x, w) + bias`. It is also the input gradient of a transposed convolution, without a bias.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shape.
    pub params: Conv2dParams,
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// How `x` is read, `[c]`.
    pub x_map: Affine,
    /// Weight `[r,s,c/groups,k]`.
    pub w: Span,
    /// Bias `[k]`, or empty.
    pub bias: Span,
    /// Output `[n,p,q,k]`, set or added to.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
    /// The CPU's algorithm; `None` until the pass is prepared, or to let the CPU choose.
    pub algo: Option<Algo>,
}

impl Forward {
    /// What is read.
    fn reads(&self) -> [Span; 5] {
        [self.x, self.x_map.scale, self.x_map.shift, self.w, self.bias]
    }

    /// The operands, given what a backend makes of [`reads`](Self::reads) and of `y`.
    pub(super) fn with<R, W>(&self, [values, scale, shift, w, bias]: [R; 5], y: W) -> Convolution<'_, R, W> {
        let (direction, input) = (Direction::Forward, Mapped { values, scale, shift });
        Convolution { direction, params: &self.params, input, w, bias, out: y, write: self.write }
    }

    pub(super) fn algo(&self, cpu: &Cpu) -> Algo {
        self.algo.unwrap_or_else(|| cpu.conv2d_algo(&self.params, PassKind::Forward))
    }
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "conv2d.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.x_map.scale, &mut self.x_map.shift, &mut self.w, &mut self.bias]);
        visit.write(&mut self.y, self.write);
    }

    fn check(&self) {
        let p = &self.params;
        p.check(self.x, self.w, self.y);
        self.x_map.check(p.c);
        assert!(self.bias.is_empty() || self.bias.len == p.k, "bias of {} for {p:?}", self.bias.len);
        assert!(self.algo.is_none_or(|algo| algo.supports(p)), "{:?} cannot compute {p:?}", self.algo);
    }

    fn flops(&self) -> usize {
        self.params.flops()
    }

    fn longest_sum(&self) -> usize {
        let p = &self.params;
        p.r * p.s * p.c / p.groups
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (reads, [y]) = memory.views(self.reads(), [self.y]);
        reference::convolve(self.with(reads, y));
    }

    fn prepare_cpu(&mut self, cpu: &Cpu) {
        self.algo = Some(self.algo(cpu));
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        let is_mapped = !self.x_map.is_none();
        cpu::convolve_workspace_len(cpu, self.algo(cpu), &self.params, Direction::Forward, is_mapped)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let (reads, [y, workspace]) = memory.views(self.reads(), [self.y, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::convolve(cpu, self.algo(cpu), self.with(reads, y), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_limit(&self) -> Option<String> {
        cuda::limit(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let (reads, [y]) = (memory.slices(self.reads()), memory.slices([self.y]));
        cuda::convolve(gpu, &self.with(reads, y));
    }
}
