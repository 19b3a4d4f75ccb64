//! One step of stochastic gradient descent over flat arrays of parameters:
//!
//! ```text
//! g = grad + weight_decay param
//! buffer = momentum buffer + g
//! param -= lr buffer                       param -= lr (g + momentum buffer)        with Nesterov
//! ```
//!
//! The buffer is the optimizer's state. It begins as 0, so that it is the gradient after the first step. Without
//! momentum there is none, and `param -= lr g`. [`Check`] says, before a step, whether it would leave a value that is
//! not finite. A step leaves a finite value where that is the result, although `g` itself may be more than f32 holds.
//! Aliasing: all operands are disjoint.
//! Source: PyTorch's `SGD`, with dampening 0.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::SgdParams;

use crate::loops::{stays_finite, update};
use crate::ops::finite;
use crate::ops::prelude::*;
use params::Constants;

/// One step, or none if a flag is up. All operands but the flag have the same length; the buffer may be absent if the
/// momentum is 0.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Constants.
    pub params: SgdParams,
    /// Parameters, updated.
    pub param: Span,
    /// Their gradients.
    pub grad: Span,
    /// Sum of the past gradients, each weighted with a power of the momentum, updated; may be absent.
    pub buffer: Span,
    /// A [flag](crate::finite) that, if it is up, leaves everything as it is; may be absent.
    pub unless: Span,
}

impl Pass for Step {
    fn name(&self) -> &'static str {
        "sgd.step"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.grad, &mut self.unless]);
        visit.update([&mut self.param, &mut self.buffer]);
    }

    fn check(&self) {
        check_lens(self, &self.params, [self.param, self.grad, self.buffer]);
        assert!(self.unless.len <= 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([grad, unless], [param, buffer]) = memory.views([self.grad, self.unless], [self.param, self.buffer]);
        if !finite::is_raised(unless) {
            reference::step(&self.params, param, grad, buffer);
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([grad, unless], [param, buffer]) = memory.views([self.grad, self.unless], [self.param, self.buffer]);
        let constants = Constants::new(&self.params);
        match () {
            () if finite::is_raised(unless) => {}
            () if buffer.is_empty() => update(cpu, constants, [param], grad),
            () => update(cpu, constants, [param, buffer], grad),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let operands = memory.slices([self.param, self.grad, self.buffer, self.unless]);
        gpu.kernels::<cuda::Kernels>().step(&gpu.device, &self.params, operands);
    }
}

/// Raises a flag if a [`Step`] with these operands would leave a parameter or a buffer that is NaN or infinite. It
/// changes nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Constants.
    pub params: SgdParams,
    /// Parameters.
    pub param: Span,
    /// Their gradients.
    pub grad: Span,
    /// Sum of the past gradients; may be absent.
    pub buffer: Span,
    /// [Flag](crate::finite): set to 1 if there is such a value, left as it is if not.
    pub flag: Span,
}

impl Pass for Check {
    fn name(&self) -> &'static str {
        "sgd.check"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.param, &mut self.grad, &mut self.buffer]);
        visit.update([&mut self.flag]);
    }

    fn check(&self) {
        check_lens(self, &self.params, [self.param, self.grad, self.buffer]);
        assert_eq!(self.flag.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([param, grad, buffer], [flag]) = memory.views([self.param, self.grad, self.buffer], [self.flag]);
        if !reference::stays_finite(&self.params, param, grad, buffer) {
            flag[0] = 1.0;
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([param, grad, buffer], [flag]) = memory.views([self.param, self.grad, self.buffer], [self.flag]);
        let constants = Constants::new(&self.params);
        let is_finite = match buffer.is_empty() {
            true => stays_finite(cpu, constants, [param], grad),
            false => stays_finite(cpu, constants, [param, buffer], grad),
        };
        if !is_finite {
            flag[0] = 1.0;
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let operands = memory.slices([self.param, self.grad, self.buffer, self.flag]);
        gpu.kernels::<cuda::Kernels>().check(&gpu.device, &self.params, operands);
    }
}

fn check_lens(pass: &dyn Pass, params: &SgdParams, [param, grad, buffer]: [Span; 3]) {
    let is_right = buffer.len == grad.len || buffer.is_empty() && params.momentum == 0.0;
    assert!(param.len == grad.len && is_right, "lengths of {pass:?}");
}
