//! Product, element by element: `y = a b`. Backward: `da = dy b`, `db = dy a`, which is the same pass.
//!
//! All operands are of equal length. Aliasing: `y` may be `a` or `b` itself if it is set.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use crate::ops::prelude::*;

/// `y (+)= a b`
#[derive(Clone, Copy, Debug)]
pub struct Mul {
    /// First factor.
    pub a: Span,
    /// Second factor.
    pub b: Span,
    /// Output; may be `a` or `b` if it is set.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}

impl Pass for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.a, &mut self.b]);
        visit.output(&mut self.y, self.write);
    }

    fn check(&self) {
        assert!(self.a.len == self.y.len && self.b.len == self.y.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (a, b) = (memory.get(self.a).to_vec(), memory.get(self.b).to_vec());
        reference::mul(&a, &b, memory.get_mut(self.y), self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([a, b], [y]) = memory.views_in_place([self.a, self.b], [self.y]);
        cpu::mul(cpu, [a, b], y, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [a, b, y] = memory.slices([self.a, self.b, self.y]);
        gpu.kernels::<cuda::Kernels>().mul(&gpu.device, [a, b], y, self.write);
    }
}
