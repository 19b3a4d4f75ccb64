//! Softmax cross-entropy of rows of logits `x [rows, K]` with classes `t [rows]`, averaged over the rows that count.
//!
//! ```text
//! p[k] = exp(x[k]) / sum_j exp(x[j])                                         the softmax of a row
//! q[k] = (1 - e) [k = t] + e / K                                             its target, with label smoothing e
//! l    = 1/m sum over rows of -sum_k q[k] ln p[k]                            m: the rows whose class is not ignored
//! dx[k] = dl (p[k] - q[k]) / m                                               0 in rows that are ignored
//! ```
//!
//! A class is a whole number from 0 to `K - 1`, as a float. The loss and the gradient of a row with any other class are
//! NaN. If all rows are ignored, the loss is 0 / 0. Logits of any size are safe, as the largest of a row is subtracted
//! first; one that is NaN or +inf gives NaN.
//!
//! Aliasing: all operands are disjoint. Conventions of PyTorch's `cross_entropy` with class indices and
//! `reduction="mean"`.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::CrossEntropyParams;

use crate::ops::prelude::*;

/// The loss.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shapes and constants.
    pub params: CrossEntropyParams,
    /// Logits `[rows, classes]`.
    pub logits: Span,
    /// The class of each row `[rows]`.
    pub targets: Span,
    /// The value of the loss, one element.
    pub out: Span,
    /// The number of rows that count, one element, for [`Backward`].
    pub count: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "cross_entropy.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.logits, &mut self.targets]);
        visit.set([&mut self.out, &mut self.count]);
    }

    fn check(&self) {
        self.params.check(self.logits, self.targets);
        assert!(self.out.len == 1 && self.count.len == 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.rows.max(self.params.classes)
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([logits, targets], [out, count]) = memory.views([self.logits, self.targets], [self.out, self.count]);
        [out[0], count[0]] = reference::forward(&self.params, logits, targets);
    }

    fn cpu_workspace_len(&self, _: &Cpu) -> usize {
        cpu::forward_workspace_len(&self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([logits, targets], [out, count, workspace]) =
            memory.views([self.logits, self.targets], [self.out, self.count, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        [out[0], count[0]] = cpu::forward(cpu, &self.params, logits, targets, workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::forward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let operands = memory.slices([self.logits, self.targets, self.out, self.count]);
        let [workspace] = memory.slices([cx.workspace]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, &self.params, operands, workspace);
    }
}

/// The gradient of [`Forward`] with respect to the logits.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shapes and constants.
    pub params: CrossEntropyParams,
    /// Logits `[rows, classes]`.
    pub logits: Span,
    /// The class of each row `[rows]`.
    pub targets: Span,
    /// What [`Forward`] wrote, one element.
    pub count: Span,
    /// Gradient of the loss, one element.
    pub dloss: Span,
    /// Gradient of the logits.
    pub dlogits: Span,
    /// Whether `dlogits` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "cross_entropy.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.logits, &mut self.targets, &mut self.count, &mut self.dloss]);
        visit.write(&mut self.dlogits, self.write);
    }

    fn check(&self) {
        self.params.check(self.logits, self.targets);
        assert_eq!(self.dlogits.len, self.logits.len, "lengths of {self:?}");
        assert!(self.count.len == 1 && self.dloss.len == 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.classes
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([logits, targets, count, dloss], [dlogits]) =
            memory.views([self.logits, self.targets, self.count, self.dloss], [self.dlogits]);
        reference::backward(&self.params, [logits, targets], dloss[0] / count[0], dlogits, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([logits, targets, count, dloss], [dlogits]) =
            memory.views([self.logits, self.targets, self.count, self.dloss], [self.dlogits]);
        cpu::backward(cpu, &self.params, [logits, targets], dloss[0] / count[0], dlogits, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let inputs = memory.slices([self.logits, self.targets, self.count, self.dloss]);
        let [dlogits] = memory.slices([self.dlogits]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, &self.params, inputs, dlogits, self.write);
    }
}
