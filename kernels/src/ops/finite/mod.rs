//! Whether values are finite: none is NaN, `+inf` or `-inf`; and undoing a training step if not.
//!
//! The answer is a flag in the backend's memory: one element, which is down if it is 0, and otherwise up. A flag stays
//! up until it is filled with 0. Some passes do nothing if a flag is up, the [optimizer's](crate::adamw) among them. So
//! a step whose gradient is not finite changes nothing, and the host need not wait in every step to see whether it is.
//!
//! Aliasing: all operands are disjoint.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(test)]
mod tests;

use crate::element::Element;
use crate::ops::prelude::*;

/// Raises a flag if a value is NaN or infinite.
#[derive(Clone, Copy, Debug)]
pub struct Find {
    /// Values of which none should be NaN or infinite; may be empty.
    pub values: Span,
    /// Flag: set to 1 if there is such a value, left as it is if not.
    pub flag: Span,
}

impl Pass for Find {
    fn name(&self) -> &'static str {
        "finite.find"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.values]);
        visit.update([&mut self.flag]);
    }

    fn check(&self) {
        assert_eq!(self.flag.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        find(memory, *self);
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        find(memory, *self);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [values, flag] = memory.slices([self.values, self.flag]);
        gpu.kernels::<cuda::Kernels>().find(&gpu.device, values, flag);
    }
}

/// Copies if a flag is up.
#[derive(Clone, Copy, Debug)]
pub struct CopyIf {
    /// Flag.
    pub flag: Span,
    /// What is copied if the flag is up; may be empty.
    pub from: Span,
    /// Output, as long as `from`. It is left as it is if the flag is down.
    pub to: Span,
}

impl Pass for CopyIf {
    fn name(&self) -> &'static str {
        "finite.copy_if"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.flag, &mut self.from]);
        visit.update([&mut self.to]);
    }

    fn check(&self) {
        assert!(self.flag.len == 1 && self.from.len == self.to.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        copy_if(memory, *self);
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        copy_if(memory, *self);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [flag, from, to] = memory.slices([self.flag, self.from, self.to]);
        gpu.kernels::<cuda::Kernels>().copy_if(&gpu.device, flag, from, to);
    }
}

/// Whether a flag is up. One that is absent is not.
pub(crate) fn is_raised<E: Element>(flag: &[E]) -> bool {
    // NaN is not 0 either.
    flag.iter().any(|&flag| flag != E::from_f64(0.0))
}

/// [`Find`] on the host.
fn find<E: Element>(memory: &mut HostMemory<E>, pass: Find) {
    let ([values], [flag]) = memory.views([pass.values], [pass.flag]);
    if !all_are_finite(values) {
        flag[0] = E::from_f64(1.0);
    }
}

/// [`CopyIf`] on the host.
fn copy_if<E: Element>(memory: &mut HostMemory<E>, pass: CopyIf) {
    let ([flag, from], [to]) = memory.views([pass.flag, pass.from], [pass.to]);
    if is_raised(flag) {
        to.copy_from_slice(from);
    }
}

/// Whether all of `values` are finite; true if there are none.
///
/// `0 x` is 0 for a finite `x` and NaN for any other. The loop does not end early: values are finite in all but a few
/// steps of a training, and without a branch the compiler turns it into one over vectors.
fn all_are_finite<E: Element>(values: &[E]) -> bool {
    let zero = E::from_f64(0.0);
    values.iter().fold(true, |all, &x| all & (x * zero == zero))
}
