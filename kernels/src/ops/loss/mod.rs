//! Losses, averaged over all `m` elements, with `p` the prediction and `t` the target.
//!
//! ```text
//! L1               l = 1/m sum |p - t|                                  dp = dl sign(p - t) / m        (0 where equal)
//! MSE              l = 1/m sum (p - t)^2                                dp = dl 2 (p - t) / m
//! Charbonnier      l = 1/m sum sqrt((p - t)^2 + e^2)                    dp = dl (p - t) / sqrt((p - t)^2 + e^2) / m
//! BCE with logits  l = 1/m sum (max(p, 0) - p t + ln(1 + exp(-|p|)))    dp = dl (sigmoid(p) - t) / m
//! ```
//!
//! The loss of Charbonnier et al. ("Two deterministic half-quadratic regularization algorithms for computed imaging",
//! 1994) has `e` = [`CHARBONNIER_EPSILON`]; in f32, it is infinite where the square of an error is. Binary
//! cross-entropy is `-t ln(sigmoid(p)) - (1 - t) ln(1 - sigmoid(p))`, written so that it is right for large logits,
//! too. `dl` is the gradient of the loss itself, one element: 1 where the loss is what is minimised. Aliasing: all
//! operands are disjoint. Conventions of PyTorch's `l1_loss`, `mse_loss` and `binary_cross_entropy_with_logits` with
//! `reduction="mean"`.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod function;
mod reference;
#[cfg(test)]
mod tests;

pub use function::{CHARBONNIER_EPSILON, Loss};

use crate::loops::total_workspace_len;
use crate::ops::prelude::*;

/// The loss.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The function.
    pub loss: Loss,
    /// What the network gives.
    pub prediction: Span,
    /// What it should give, of the same length.
    pub target: Span,
    /// The value of the loss, one element.
    pub out: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "loss.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.prediction, &mut self.target]);
        visit.set([&mut self.out]);
    }

    fn check(&self) {
        assert!(self.prediction.len == self.target.len && self.out.len == 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.prediction.len
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([prediction, target], [out]) = memory.views([self.prediction, self.target], [self.out]);
        out[0] = reference::forward(self.loss, prediction, target);
    }

    fn cpu_workspace_len(&self, _: &Cpu) -> usize {
        total_workspace_len(self.prediction.len)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([prediction, target], [out, workspace]) =
            memory.views([self.prediction, self.target], [self.out, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        out[0] = cpu::forward(cpu, self.loss, prediction, target, workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::forward_workspace_len(self.prediction.len)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [prediction, target, out] = memory.slices([self.prediction, self.target, self.out]);
        let [workspace] = memory.slices([cx.workspace]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, self.loss, prediction, target, out, workspace);
    }
}

/// The gradient of [`Forward`] with respect to the prediction. Those with respect to the target are the same with both
/// exchanged, but for cross-entropy.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The function.
    pub loss: Loss,
    /// What the network gives.
    pub prediction: Span,
    /// What it should give, of the same length.
    pub target: Span,
    /// Gradient of the loss, one element.
    pub dloss: Span,
    /// Gradient of the prediction.
    pub dprediction: Span,
    /// Whether `dprediction` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "loss.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.prediction, &mut self.target, &mut self.dloss]);
        visit.write(&mut self.dprediction, self.write);
    }

    fn check(&self) {
        let len = self.target.len;
        assert!(self.prediction.len == len && self.dprediction.len == len, "lengths of {self:?}");
        assert_eq!(self.dloss.len, 1, "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([prediction, target, dloss], [dprediction]) =
            memory.views([self.prediction, self.target, self.dloss], [self.dprediction]);
        reference::backward(self.loss, [prediction, target], dloss[0], dprediction, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([prediction, target, dloss], [dprediction]) =
            memory.views([self.prediction, self.target, self.dloss], [self.dprediction]);
        cpu::backward(cpu, self.loss, [prediction, target], dloss[0], dprediction, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let inputs = memory.slices([self.prediction, self.target, self.dloss]);
        let [dprediction] = memory.slices([self.dprediction]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, self.loss, inputs, dprediction, self.write);
    }
}
