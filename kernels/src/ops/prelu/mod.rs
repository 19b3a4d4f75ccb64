//! PReLU: a rectifier whose slope below 0 is trained, one slope for all elements.
//!
//! ```text
//! y = x          where x > 0      dx = dy
//! y = slope x    elsewhere        dx = slope dy        dslope = sum dy x
//! ```
//!
//! The sum is over the elements of the second line, which 0 and NaN are among. `slope` and `dslope` have one element,
//! the other operands are of equal length. Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; all
//! else is disjoint. Source: He et al., "Delving Deep into Rectifiers", 2015; `torch.nn.PReLU()` with its default, one
//! parameter.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::ops::prelude::*;

/// The output.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Input.
    pub x: Span,
    /// Slope below 0, one element.
    pub slope: Span,
    /// Output; may be `x`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "prelu.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.read([&mut self.slope]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        assert!(self.x.len == self.y.len && self.slope.len == 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.x, self.y);
        let ([slope], [y]) = memory.views([self.slope], [self.y]);
        y.iter_mut().for_each(|y| *y = reference::value(*y, slope[0]));
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x, slope], [y]) = memory.views_in_place([self.x, self.slope], [self.y]);
        cpu::forward(cpu, distinct(slope)[0], x, y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, slope, y] = memory.slices([self.x, self.slope, self.y]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, x, slope, y);
    }
}

/// The gradients of [`Forward`]. Either is empty if it is not wanted.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Input of the forward pass.
    pub x: Span,
    /// Slope below 0, one element.
    pub slope: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub dx_write: Write,
    /// Gradient of the slope, one element.
    pub dslope: Span,
    /// Whether `dslope` is set or added to.
    pub dslope_write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "prelu.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.slope]);
        visit.read_in_place([&mut self.dy]);
        visit.write(&mut self.dslope, self.dslope_write);
        visit.output(&mut self.dx, self.dx_write);
    }

    fn check(&self) {
        assert!(self.x.len == self.dy.len && self.slope.len == 1, "lengths of {self:?}");
        assert!(self.dx.is_empty() || self.dx.len == self.x.len, "lengths of {self:?}");
        assert!(self.dslope.len <= 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.x.len
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let dy = memory.get(self.dy).to_vec();
        let ([x, slope], [dx, dslope]) = memory.views([self.x, self.slope], [self.dx, self.dslope]);
        for (i, dx) in dx.iter_mut().enumerate() {
            self.dx_write.put(dx, reference::grad_input(x[i], slope[0], dy[i]));
        }
        let sum = reference::grad_slope(x, &dy);
        dslope.iter_mut().for_each(|dslope| self.dslope_write.put(dslope, sum));
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::backward_workspace_len(cpu, self.x.len)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x, slope, dy], [dx, dslope, workspace]) =
            memory.views_in_place([self.x, self.slope, self.dy], [self.dx, self.dslope, cx.workspace]);
        let (x, slope) = (distinct(x), distinct(slope)[0]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let sum = cpu::backward(cpu, slope, x, dy, (dx, self.dx_write), workspace);
        dslope.iter_mut().for_each(|dslope| self.dslope_write.put(dslope, sum));
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::backward_workspace_len(self.x.len)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, slope, dy, dx, dslope] = memory.slices([self.x, self.slope, self.dy, self.dx, self.dslope]);
        let [workspace] = memory.slices([cx.workspace]);
        let (dx, dslope) = ((dx, self.dx_write), (dslope, self.dslope_write));
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, [x, slope, dy], dx, dslope, workspace);
    }
}
