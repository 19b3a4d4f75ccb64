//! One step of AdamW over flat arrays of parameters. At step `t` (the first is 1):
//!
//! ```text
//! param -= lr weight_decay param
//! m = beta1 m + (1 - beta1) grad          v = beta2 v + (1 - beta2) grad^2
//! param -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
//! ```
//!
//! `m` and `v` are the optimizer's state. [`Check`] says, before a step, whether it would leave a value that is not
//! finite: with a gradient that is not, always. Aliasing: all operands are disjoint.
//! Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, in the order of PyTorch's `AdamW`.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::AdamWParams;

use crate::loops::{stays_finite, update};
use crate::ops::finite;
use crate::ops::prelude::*;
use params::Constants;

/// One step, or none if a flag is up. All operands but the flag have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Constants.
    pub params: AdamWParams,
    /// Parameters, updated.
    pub param: Span,
    /// Their gradients.
    pub grad: Span,
    /// Mean of recent gradients, updated.
    pub m: Span,
    /// Mean of the squares of recent gradients, updated.
    pub v: Span,
    /// A [flag](crate::finite) that, if it is up, leaves everything as it is; may be absent.
    pub unless: Span,
}

impl Pass for Step {
    fn name(&self) -> &'static str {
        "adamw.step"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.grad, &mut self.unless]);
        visit.update([&mut self.param, &mut self.m, &mut self.v]);
    }

    fn check(&self) {
        let len = self.grad.len;
        assert!(self.param.len == len && self.m.len == len && self.v.len == len, "lengths of {self:?}");
        assert!(self.unless.len <= 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([grad, unless], [param, m, v]) = memory.views([self.grad, self.unless], [self.param, self.m, self.v]);
        if !finite::is_raised(unless) {
            reference::step(&self.params, param, grad, m, v);
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([grad, unless], [param, m, v]) = memory.views([self.grad, self.unless], [self.param, self.m, self.v]);
        if !finite::is_raised(unless) {
            update(cpu, Constants::new(&self.params), [param, m, v], grad);
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let operands = memory.slices([self.param, self.grad, self.m, self.v]);
        let [unless] = memory.slices([self.unless]);
        gpu.kernels::<cuda::Kernels>().step(&gpu.device, &self.params, operands, unless);
    }
}

/// Raises a flag if a [`Step`] with these operands would leave a parameter or a moment that is NaN or infinite. It
/// changes nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Constants.
    pub params: AdamWParams,
    /// Parameters.
    pub param: Span,
    /// Their gradients.
    pub grad: Span,
    /// Mean of recent gradients.
    pub m: Span,
    /// Mean of the squares of recent gradients.
    pub v: Span,
    /// [Flag](crate::finite): set to 1 if there is such a value, left as it is if not.
    pub flag: Span,
}

impl Pass for Check {
    fn name(&self) -> &'static str {
        "adamw.check"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.param, &mut self.grad, &mut self.m, &mut self.v]);
        visit.update([&mut self.flag]);
    }

    fn check(&self) {
        let len = self.grad.len;
        assert!(self.param.len == len && self.m.len == len && self.v.len == len, "lengths of {self:?}");
        assert_eq!(self.flag.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (state, [flag]) = memory.views([self.param, self.grad, self.m, self.v], [self.flag]);
        if !reference::stays_finite(&self.params, state) {
            flag[0] = 1.0;
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([param, grad, m, v], [flag]) = memory.views([self.param, self.grad, self.m, self.v], [self.flag]);
        if !stays_finite(cpu, Constants::new(&self.params), [param, m, v], grad) {
            flag[0] = 1.0;
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let operands = memory.slices([self.param, self.grad, self.m, self.v]);
        let [flag] = memory.slices([self.flag]);
        gpu.kernels::<cuda::Kernels>().check(&gpu.device, &self.params, operands, flag);
    }
}
