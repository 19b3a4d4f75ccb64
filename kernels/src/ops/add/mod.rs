//! Weighted addition, the skip connection: `y = a + weight b`. Backward: `da = dy`, `db = weight dy`.
//!
//! [`Scale`] is `y (+)= weight x`: it is both gradients, and a copy with weight 1.
//!
//! All operands are of equal length. Aliasing: in [`Add`], `y` may be `a` or `b` itself; in [`Scale`], `y` may be `x`
//! itself if it is set.

pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub mod reference;
#[cfg(test)]
mod tests;

use crate::ops::prelude::*;

/// `y = a + weight b`
#[derive(Clone, Copy, Debug)]
pub struct Add {
    /// Factor of `b`.
    pub weight: f64,
    /// First summand.
    pub a: Span,
    /// Second summand, multiplied by the weight.
    pub b: Span,
    /// Output; may be `a` or `b`.
    pub y: Span,
}

impl Pass for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.a, &mut self.b]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        assert!(self.a.len == self.y.len && self.b.len == self.y.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (a, b) = (memory.get(self.a).to_vec(), memory.get(self.b).to_vec());
        reference::add(self.weight, &a, &b, memory.get_mut(self.y));
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([a, b], [y]) = memory.views_in_place([self.a, self.b], [self.y]);
        cpu::add(cpu, self.weight, a, b, y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [a, b, y] = memory.slices([self.a, self.b, self.y]);
        gpu.kernels::<cuda::Kernels>().add(&gpu.device, self.weight, a, b, y);
    }
}

/// `y (+)= weight x`
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Factor.
    pub weight: f64,
    /// Input.
    pub x: Span,
    /// Output; may be `x` if it is set.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}

impl Pass for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.output(&mut self.y, self.write);
    }

    fn check(&self) {
        assert_eq!(self.x.len, self.y.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let x = memory.get(self.x).to_vec();
        reference::scale(self.weight, &x, memory.get_mut(self.y), self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x], [y]) = memory.views_in_place([self.x], [self.y]);
        cpu::scale(cpu, self.weight, x, y, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        gpu.kernels::<cuda::Kernels>().scale(&gpu.device, self.weight, x, y, self.write);
    }
}
