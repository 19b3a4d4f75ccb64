//! Pooling: each output pixel summarises a window of the input, channel by channel.
//!
//! ```text
//! y[n,p,q,c] = summary of x[n, p sy - py + r, q sx - px + s, c]        over r in 0..kh, s in 0..kw inside the image
//!
//! Max        the largest value; padding counts as -infinity, and a NaN is larger than everything
//!            dx gets dy at the first largest value, or at the last NaN
//! Average    the sum, over kh kw (or, without counting the padding, over the pixels of the window inside the image)
//!            dx gets dy over the same number, at every pixel of the window
//! ```
//!
//! Where windows overlap, gradients add up, in the order of the output pixels. Aliasing: all operands are disjoint.
//! Conventions of PyTorch's `max_pool2d` and `avg_pool2d` (without dilation and `ceil_mode`).

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::{PoolParams, Pooling, ShapeError};

use crate::ops::prelude::*;

/// The pooled image.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shapes.
    pub params: PoolParams,
    /// Input `[n,h,w,c]`.
    pub x: Span,
    /// Output `[n,p,q,c]`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "pool2d.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.y]);
    }

    fn check(&self) {
        self.params.check(self.x, self.y);
    }

    fn longest_sum(&self) -> usize {
        self.params.longest_forward_sum()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        reference::forward(&self.params, x, y);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        cpu::forward(cpu, &self.params, x, y);
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
    pub params: PoolParams,
    /// Input `[n,h,w,c]`; may be absent for an average.
    pub x: Span,
    /// Gradient of the output `[n,p,q,c]`.
    pub dy: Span,
    /// Gradient of the input `[n,h,w,c]`.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "pool2d.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.dy]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        self.params.check(self.dx, self.dy);
        let is_absent = self.params.pooling != Pooling::Max && self.x.is_empty();
        assert!(is_absent || self.x.len == self.dx.len, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.longest_backward_sum()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x, dy], [dx]) = memory.views([self.x, self.dy], [self.dx]);
        reference::backward(&self.params, [x, dy], dx, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x, dy], [dx]) = memory.views([self.x, self.dy], [self.dx]);
        cpu::backward(cpu, &self.params, [x, dy], dx, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, dy, dx] = memory.slices([self.x, self.dy, self.dx]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, &self.params, [x, dy], dx, self.write);
    }
}
