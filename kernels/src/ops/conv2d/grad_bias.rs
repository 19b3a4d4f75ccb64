//! [`GradBias`]: the gradient of the bias.

#[cfg(feature = "cuda")]
use super::cuda;
use super::{cpu, reference};
use crate::ops::prelude::*;

/// `db (+)= sum of the rows of dy`
#[derive(Clone, Copy, Debug)]
pub struct GradBias {
    /// Gradient of the output, rows of as many values as there are channels.
    pub dy: Span,
    /// Gradient of the bias, one value a channel, set or added to.
    pub db: Span,
    /// Whether `db` is set or added to.
    pub write: Write,
}

impl GradBias {
    fn rows(&self) -> usize {
        self.dy.len / self.db.len
    }
}

impl Pass for GradBias {
    fn name(&self) -> &'static str {
        "conv2d.grad_bias"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.dy]);
        visit.write(&mut self.db, self.write);
    }

    fn check(&self) {
        let (len, channels) = (self.dy.len, self.db.len);
        assert!(channels > 0 && len.is_multiple_of(channels), "{len} values are not rows of {channels} channels");
    }

    fn longest_sum(&self) -> usize {
        self.rows()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([dy], [db]) = memory.views([self.dy], [self.db]);
        reference::grad_bias(dy, db, self.write);
    }

    fn cpu_workspace_len(&self, _: &Cpu) -> usize {
        cpu::grad_bias_workspace_len(self.rows(), self.db.len)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([dy], [db, workspace]) = memory.views([self.dy], [self.db, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::grad_bias(cpu, dy, db, self.write, workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::grad_bias_workspace_len(self.rows(), self.db.len)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [dy, db, workspace] = memory.slices([self.dy, self.db, cx.workspace]);
        cuda::grad_bias(gpu, dy, db, self.write, workspace);
    }
}
