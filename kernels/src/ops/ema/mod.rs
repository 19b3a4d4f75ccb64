//! The exponential moving average of parameters, `average = decay average + (1 - decay) param`, computed as
//! `average += (1 - decay) (param - average)`, which f32 holds more precisely.
//!
//! Aliasing: all operands are disjoint.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

use crate::ops::finite;
use crate::ops::prelude::*;

/// One step, or none if a flag is up. It leaves a finite average of finite values.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Weight of the old average; the parameter's is 1 minus this.
    pub decay: f64,
    /// Parameters.
    pub param: Span,
    /// Their average, of the same length, updated.
    pub average: Span,
    /// A [flag](crate::finite) that, if it is up, leaves everything as it is; may be absent.
    pub unless: Span,
}

impl Pass for Step {
    fn name(&self) -> &'static str {
        "ema.step"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.param, &mut self.unless]);
        visit.update([&mut self.average]);
    }

    fn check(&self) {
        assert!(self.param.len == self.average.len && self.unless.len <= 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([param, unless], [average]) = memory.views([self.param, self.unless], [self.average]);
        if !finite::is_raised(unless) {
            average.iter_mut().zip(param).for_each(|(average, param)| {
                *average = self.decay * *average + (1.0 - self.decay) * param;
            });
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([param, unless], [average]) = memory.views([self.param, self.unless], [self.average]);
        if !finite::is_raised(unless) {
            cpu::step(cpu, 1.0 - self.decay, param, average);
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [param, average, unless] = memory.slices([self.param, self.average, self.unless]);
        gpu.kernels::<cuda::Kernels>().step(&gpu.device, 1.0 - self.decay, param, average, unless);
    }
}

/// Exchanges two arrays.
#[derive(Clone, Copy, Debug)]
pub struct Swap {
    /// One of them.
    pub a: Span,
    /// The other, of the same length.
    pub b: Span,
}

impl Pass for Swap {
    fn name(&self) -> &'static str {
        "ema.swap"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.update([&mut self.a, &mut self.b]);
    }

    fn check(&self) {
        assert_eq!(self.a.len, self.b.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([], [a, b]) = memory.views([], [self.a, self.b]);
        a.swap_with_slice(b);
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([], [a, b]) = memory.views([], [self.a, self.b]);
        a.swap_with_slice(b);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [a, b] = memory.slices([self.a, self.b]);
        gpu.kernels::<cuda::Kernels>().swap(&gpu.device, a, b);
    }
}
