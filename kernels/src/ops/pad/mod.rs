//! Zeros at the bottom and right of an image: `y[n,h,w,c] = x[n,h,w,c]` inside the `h0 x w0` input, else 0.
//!
//! Backward cuts them off: `dx[n,h,w,c] (+)= dy[n,h,w,c]` inside. Aliasing: all operands are disjoint.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::PadParams;

use crate::ops::prelude::*;

/// Adds the zeros.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shapes.
    pub params: PadParams,
    /// Input `[n,h0,w0,c]`.
    pub x: Span,
    /// Output `[n,h1,w1,c]`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "pad.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.set([&mut self.y]);
    }

    fn check(&self) {
        check(&self.params, self.x, self.y);
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
    pub params: PadParams,
    /// Gradient of the output `[n,h1,w1,c]`.
    pub dy: Span,
    /// Gradient of the input `[n,h0,w0,c]`.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "pad.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.dy]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        check(&self.params, self.dx, self.dy);
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([dy], [dx]) = memory.views([self.dy], [self.dx]);
        reference::backward(&self.params, dy, dx, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([dy], [dx]) = memory.views([self.dy], [self.dx]);
        cpu::backward(cpu, &self.params, dy, dx, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [dy, dx] = memory.slices([self.dy, self.dx]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, &self.params, dy, dx, self.write);
    }
}

/// Asserts the lengths of an input and an output, or of their gradients.
fn check(p: &PadParams, x: Span, y: Span) {
    assert!(p.h0 <= p.h1 && p.w0 <= p.w1, "{p:?}");
    assert_eq!(x.len, p.n * p.h0 * p.w0 * p.c, "input of {p:?}");
    assert_eq!(y.len, p.n * p.h1 * p.w1 * p.c, "output of {p:?}");
}
