//! Images of another size, larger or smaller.
//!
//! ```text
//! Nearest    y[n,i,j,c] = x[n, floor(i h / p), floor(j w / q), c]                         from h x w to p x q pixels
//! Bilinear   y[n,i,j,c] = (1 - s) ((1 - t) x[n,a,b,c] + t x[n,a,b+1,c]) + s ((1 - t) x[n,a+1,b,c] + t x[n,a+1,b+1,c])
//!            a + s = max(0, (i + 1/2) h / p - 1/2)    b + t = max(0, (j + 1/2) w / q - 1/2)    a, b whole, s, t < 1
//!            a pixel after the last one is the last one
//! ```
//!
//! Backward gives each pixel the sum of the gradients that it is in, times its weights there, row by row. Aliasing: all
//! operands are disjoint.
//!
//! Conventions of PyTorch's `interpolate` with a size and `align_corners=False`. Here `a` and `b` are exact. PyTorch
//! multiplies `i` by `h / p`, which it rounds to f32: where `i h / p` is whole, its nearest pixel may be the one
//! before. It is in 2 % of the sizes below 400, such as from 26 to 22 pixels, but for no whole factor below 41.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::{SizeError, UpsampleParams, Upsampling};

use crate::ops::prelude::*;
use cpu::Direction;

/// The image in another size.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shapes.
    pub params: UpsampleParams,
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// Output `[n,p,q,c]`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "upsample.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.y]);
    }

    fn check(&self) {
        self.params.check(self.x, self.y);
    }

    fn longest_sum(&self) -> usize {
        match self.params.upsampling {
            Upsampling::Nearest => 1,
            Upsampling::Bilinear => 4,
        }
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        reference::forward(&self.params, x, y);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params, Direction::Forward)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [y, workspace]) = memory.views([self.x], [self.y, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::resample(cpu, &self.params, Direction::Forward, x, (y, Write::Set), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, &self.params, x, y);
    }
}

/// The gradient of [`Forward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shapes.
    pub params: UpsampleParams,
    /// Gradient of the output `[n,p,q,c]`.
    pub dy: Span,
    /// Gradient of the input `[n,h,w,c]`.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "upsample.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.dy]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        self.params.check(self.dx, self.dy);
    }

    fn longest_sum(&self) -> usize {
        self.params.longest_sum()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([dy], [dx]) = memory.views([self.dy], [self.dx]);
        reference::backward(&self.params, dy, dx, self.write);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::workspace_len(cpu, &self.params, Direction::Backward)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([dy], [dx, workspace]) = memory.views([self.dy], [self.dx, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::resample(cpu, &self.params, Direction::Backward, dy, (dx, self.write), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [dy, dx] = memory.slices([self.dy, self.dx]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, &self.params, dy, dx, self.write);
    }
}
