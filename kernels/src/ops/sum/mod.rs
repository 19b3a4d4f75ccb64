//! Sum of all `m` elements times a factor, 1 for the sum and `1 / m` for the mean.
//!
//! ```text
//! y = factor sum x        dx = factor dy, for every element
//! ```
//!
//! `y` and its gradient are one element. The sum has a fixed order. Aliasing: all operands are disjoint.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use crate::loops::total_workspace_len;
use crate::ops::prelude::*;

/// `y = factor sum x`
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Factor of the sum.
    pub factor: f64,
    /// Input.
    pub x: Span,
    /// Output, one element.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "sum.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.y]);
    }

    fn check(&self) {
        assert_eq!(self.y.len, 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.x.len
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        y[0] = reference::forward(self.factor, x);
    }

    fn cpu_workspace_len(&self, _: &Cpu) -> usize {
        total_workspace_len(self.x.len)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [y, workspace]) = memory.views([self.x], [self.y, cx.workspace]);
        y[0] = cpu::forward(cpu, self.factor, x, scratch(workspace, self.cpu_workspace_len(cpu)));
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::workspace_len(self.x.len)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, y, workspace] = memory.slices([self.x, self.y, cx.workspace]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, self.factor, x, y, workspace);
    }
}

/// `dx (+)= factor dy`, for every element.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Factor of the sum.
    pub factor: f64,
    /// Gradient of the output, one element.
    pub dy: Span,
    /// Gradient of the input.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "sum.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.dy]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        assert_eq!(self.dy.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([dy], [dx]) = memory.views([self.dy], [self.dx]);
        dx.iter_mut().for_each(|dx| self.write.put(dx, self.factor * dy[0]));
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([dy], [dx]) = memory.views([self.dy], [self.dx]);
        cpu::backward(cpu, self.factor, dy[0], dx, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [dy, dx] = memory.slices([self.dy, self.dx]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, self.factor, dy, dx, self.write);
    }
}
