//! RReLU: a rectifier whose slope below 0 is random, another one for every element in every step.
//!
//! ```text
//! y = x       where x > 0      dx = dy
//! y = s_i x   elsewhere        dx = s_i dy
//!
//! s_i = (2^21 + floor(3495254 w_i / 2^32)) / 2^24, from 1/8 to just below 1/3,  w_i uniform in 0..2^32
//! s_i = 11/48                                                                  where nothing is drawn
//! ```
//!
//! `w_i` is the element's word of [`random`](crate::random). Everything before the last division is in whole numbers,
//! and the division is exact. So with the same key, element `i` has the same slope on every backend, and the backward
//! pass has the slopes of the forward pass.
//!
//! `s_i` has one of 3495254 values, which are equally probable to one part in a thousand. Their mean is 11/48 to 2^-24.
//!
//! All operands have the same length. Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; `x` is
//! disjoint from `dx`.
//!
//! Source: Xu et al., "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015;
//! `torch.nn.RReLU()` with its defaults, which draws other numbers of the same distribution.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod reference;
mod slopes;
#[cfg(test)]
mod tests;

pub use slopes::MEAN;

use crate::ops::prelu;
use crate::ops::prelude::*;
use crate::random::Draws;
use slopes::Slopes;

/// `y = x` where `x > 0`, else `s_i x`. Both have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// What the slopes are made from. Without it they are their mean.
    pub draws: Option<Draws>,
    /// Input.
    pub x: Span,
    /// Output; may be `x`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "rrelu.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        assert_eq!(self.x.len, self.y.len, "lengths of {self:?}");
    }

    fn is_repeatable(&self) -> bool {
        self.draws.is_none()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let slopes = Slopes::new(self.draws, cx.key);
        memory.copy(self.x, self.y);
        let y = memory.get_mut(self.y).iter_mut().enumerate();
        y.for_each(|(i, y)| *y = prelu::reference::value(*y, reference::slope(slopes, i)));
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x], [y]) = memory.views_in_place([self.x], [self.y]);
        cpu::apply(cpu, Slopes::new(self.draws, cx.key), [x, x], y, Write::Set);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        let slopes = Slopes::new(self.draws, cx.key);
        gpu.kernels::<cuda::Kernels>().apply(&gpu.device, slopes, [x, x], y, Write::Set);
    }
}

/// The gradient of [`Forward`], with the same slopes. All operands have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// As in the forward pass.
    pub draws: Option<Draws>,
    /// Input of the forward pass.
    pub x: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "rrelu.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.read_in_place([&mut self.dy]);
        visit.output(&mut self.dx, self.write);
    }

    fn check(&self) {
        assert!(self.x.len == self.dx.len && self.dy.len == self.dx.len, "lengths of {self:?}");
    }

    fn is_repeatable(&self) -> bool {
        self.draws.is_none()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let slopes = Slopes::new(self.draws, cx.key);
        let dy = memory.get(self.dy).to_vec();
        let ([x], [dx]) = memory.views([self.x], [self.dx]);
        for (i, dx) in dx.iter_mut().enumerate() {
            self.write.put(dx, prelu::reference::grad_input(x[i], reference::slope(slopes, i), dy[i]));
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x, dy], [dx]) = memory.views_in_place([self.x, self.dy], [self.dx]);
        cpu::apply(cpu, Slopes::new(self.draws, cx.key), [Some(distinct(x)), dy], dx, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, dy, dx] = memory.slices([self.x, self.dy, self.dx]);
        let slopes = Slopes::new(self.draws, cx.key);
        gpu.kernels::<cuda::Kernels>().apply(&gpu.device, slopes, [x, dy], dx, self.write);
    }
}
