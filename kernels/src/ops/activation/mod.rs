//! Element-wise activation functions: `y = f(x)`, `dx = dy f'(x)`.
//!
//! | function | f(x) | backward reads |
//! | --- | --- | --- |
//! | GELU (exact) | `x Phi(x)`, `Phi(x) = (1 + erf(x / sqrt 2)) / 2` | x |
//! | sigmoid | `1 / (1 + exp(-x))`; `f' = y (1 - y)` | y |
//! | tanh | `f' = 1 - y^2` | y |
//! | ReLU | `max(x, 0)`; `f'(0) = 0` | y |
//! | leaky ReLU | `x` if `x > 0`, else `x / 100` | x |
//! | SiLU | `x sigmoid(x)` | x |
//! | Mish | `x tanh(ln(1 + exp x))` | x |
//! | ReLU6 | `min(max(x, 0), 6)`; `f'(0) = f'(6) = 0` | y |
//! | hard swish | `x min(max(x + 3, 0), 6) / 6`; `f'(-3) = 0`, `f'(3) = 1` | x |
//! | hard sigmoid | `min(max(x + 3, 0), 6) / 6`; `f'(-3) = f'(3) = 0` | x |
//! | hard tanh | `min(max(x, -1), 1)`; `f'(-1) = f'(1) = 0` | y |
//! | softplus | `ln(1 + exp x)`; `f' = sigmoid(x)` | x |
//! | log sigmoid | `-ln(1 + exp(-x))`; `f' = sigmoid(-x)` | x |
//! | CELU | `max(x, 0) + min(exp(x) - 1, 0)` | x |
//! | SELU | `1.0507... (max(x, 0) + 1.6732... min(exp(x) - 1, 0))`; left slope at 0 | x |
//! | softsign | `x / (1 + |x|)` | x |
//! | soft shrink | `x - min(max(x, -1/2), 1/2)`; `f' = 0` at the kinks | y |
//! | hard shrink | `x` if `|x| > 1/2`, else 0 | y |
//! | tanh shrink | `x - tanh(x)`; `f' = tanh(x)^2` | x |
//!
//! Aliasing: `y` may be `x` itself; `dx` may be `dy` itself if it is set; the saved operand is disjoint from outputs.
//! Sources: Hendrycks & Gimpel, "Gaussian Error Linear Units", 2016; Misra, "Mish", 2019; Klambauer et al.,
//! "Self-Normalizing Neural Networks", 2017 (SELU); parameters, slopes and kinks as in PyTorch.

#[cfg(test)]
mod accuracy;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod function;
#[cfg(test)]
mod pytorch;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use function::{Activation, Saved};

use crate::ops::prelude::*;

/// `y = f(x)`. Both have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The function.
    pub activation: Activation,
    /// Input.
    pub x: Span,
    /// Output; may be `x`.
    pub y: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "activation.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read_in_place([&mut self.x]);
        visit.output(&mut self.y, Write::Set);
    }

    fn check(&self) {
        assert_eq!(self.x.len, self.y.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.copy(self.x, self.y);
        memory.get_mut(self.y).iter_mut().for_each(|y| *y = reference::value(self.activation, *y));
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x], [y]) = memory.views_in_place([self.x], [self.y]);
        cpu::forward(cpu, self.activation, x, y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, self.activation, x, y);
    }
}

/// `dx (+)= dy f'(x)`. All operands have the same length.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The function.
    pub activation: Activation,
    /// `x` or `y` of the forward pass, as [`Activation::saved`] says.
    pub saved: Span,
    /// Gradient of the output.
    pub dy: Span,
    /// Gradient of the input; may be `dy` if it is set.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "activation.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.saved]);
        visit.read_in_place([&mut self.dy]);
        visit.output(&mut self.dx, self.write);
    }

    fn check(&self) {
        assert!(self.saved.len == self.dx.len && self.dy.len == self.dx.len, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let dy = memory.get(self.dy).to_vec();
        let ([saved], [dx]) = memory.views([self.saved], [self.dx]);
        for (i, dx) in dx.iter_mut().enumerate() {
            self.write.put(dx, dy[i] * reference::derivative(self.activation, saved[i]));
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([saved, dy], [dx]) = memory.views_in_place([self.saved, self.dy], [self.dx]);
        cpu::backward(cpu, self.activation, distinct(saved), dy, dx, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [saved, dy, dx] = memory.slices([self.saved, self.dy, self.dx]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, self.activation, saved, dy, dx, self.write);
    }
}
