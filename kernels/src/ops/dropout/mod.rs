//! Dropout: random elements become 0, and the others larger, so that the expected value stays.
//!
//! ```text
//! y = f_i x       dx = f_i dy       f_i = 0               where w_i < floor(2^32 p)
//!                                   f_i = 1 / (1 - p)     elsewhere
//! ```
//!
//! `p` is the probability of a 0, from 0 to below 1, to 2^-32. `w_i` is the element's word of
//! [`random`](crate::random), uniform in `0..2^32`. So with the same key, the same elements are dropped on every
//! backend and in both directions, and one pass computes either: nothing is kept for the backward pass.
//!
//! Aliasing: `y` may be `x` itself if it is set.
//!
//! Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014, with the scale
//! in training, as `torch.nn.functional.dropout`, which draws other numbers of the same distribution.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use crate::ops::prelude::*;
use crate::random::Draws;

/// `y (+)= f_i x`: the forward pass, and with gradients the backward pass. Both have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability that an element becomes 0, below 1.
    pub p: f64,
    /// Which elements these are.
    pub draws: Draws,
    /// Input, or gradient of the output.
    pub x: Span,
    /// Output, or gradient of the input; may be `x` if it is set.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}

/// The factors of the elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors {
    /// Elements whose word is below it become 0.
    threshold: u32,
    /// What the others are multiplied by.
    scale: f64,
}

impl Dropout {
    /// `2^32` times a number below 1 is below `2^32`.
    fn factors(&self) -> Factors {
        Factors { threshold: (self.p * 2f64.powi(32)) as u32, scale: 1.0 / (1.0 - self.p) }
    }
}

impl Pass for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.output(&mut self.y, self.write);
    }

    fn check(&self) {
        assert_eq!(self.x.len, self.y.len, "lengths of {self:?}");
        assert!((0.0..1.0).contains(&self.p), "{self:?}");
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let x = memory.get(self.x).to_vec();
        reference::apply(self.factors(), self.draws.words(cx.key), &x, memory.get_mut(self.y), self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [y]) = memory.views_in_place([self.x], [self.y]);
        cpu::apply(cpu, self.factors(), self.draws.words(cx.key), x, y, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        let words = self.draws.words(cx.key);
        gpu.kernels::<cuda::Kernels>().apply(&gpu.device, self.factors(), words, x, y, self.write);
    }
}
