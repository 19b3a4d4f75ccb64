//! Structural similarity of images (SSIM): its mean over all windows of 7x7 pixels that lie inside an image, over
//! images and over channels.
//!
//! For a window of one channel, with the means `mx` and `my` of its `m` = 49 values, their sample variances `vx` and
//! `vy`, which are divided by `m - 1`, and their covariance `vxy`:
//!
//! ```text
//! S = A1 A2 / (B1 B2)      A1 = 2 mx my + C1      B1 = mx^2 + my^2 + C1      C1 = 0.01^2
//!                          A2 = 2 vxy + C2        B2 = vx + vy + C2          C2 = 0.03^2
//!
//! dx[i] = ds / windows sum over windows with i of
//!         (dS/dmx / m + 2 dS/dvx (x[i] - mx) / (m - 1) + dS/dvxy (y[i] - my) / (m - 1))
//!         dS/dmx = 2 A2 (my - mx A1 / B1) / (B1 B2)      dS/dvx = -S / B2      dS/dvxy = 2 A1 / (B1 B2)
//! ```
//!
//! `ds` is the gradient of the result, one element. SSIM is symmetric: the gradient of `y` is that of `x` with both
//! exchanged. Aliasing: all operands are disjoint.
//!
//! Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
//! similarity", 2004. The windows and the variances are those of scikit-image's `structural_similarity` with
//! `data_range=1`, `win_size=7`, `channel_axis=-1` and its defaults: values are from 0 to 1.
//!
//! # Rounding
//!
//! The CPU and the GPU compute with the difference `d = y - x` and its statistics, as images are often similar:
//!
//! ```text
//! A1 = B1 - md^2      A2 = B2 - vd
//! dx[i] = ds / windows sum of (D + R (d[i] - md) + T (x[i] - mx))      R = 2 A1 / (B1 B2 (m - 1))      T = R vd / B2
//!                                                                      D = 2 A2 (md + mx md^2 / B1) / (B1 B2 m)
//! ```
//!
//! All squares that are summed are of deviations from means, so that a bright window without contrast loses nothing.
//! The tests allow an error of 64 roundings, `64 * 2^-24 = 4e-6`, of `S`, whose terms are at most 1; and as many of a
//! gradient, each of a value of the size of the sum of `|D| + R (|d[i]| + |md|) + T (|x[i]| + |mx|)` over the windows.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::{SizeError, SsimParams, WINDOW};

use crate::ops::prelude::*;
use params::WINDOW_LEN;

/// The mean similarity.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Shapes.
    pub params: SsimParams,
    /// Images `[n,h,w,c]`.
    pub x: Span,
    /// The images to compare with, `[n,h,w,c]`.
    pub y: Span,
    /// The mean similarity, one element.
    pub out: Span,
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "ssim.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.y]);
        visit.set([&mut self.out]);
    }

    fn check(&self) {
        self.params.check([self.x, self.y]);
        assert_eq!(self.out.len, 1, "lengths of {self:?}");
    }

    fn longest_sum(&self) -> usize {
        self.params.windows().max(WINDOW_LEN)
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x, y], [out]) = memory.views([self.x, self.y], [self.out]);
        out[0] = reference::forward(&self.params, x, y);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::forward_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x, y], [out, workspace]) = memory.views([self.x, self.y], [self.out, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        out[0] = cpu::forward(cpu, &self.params, [x, y], workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::forward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let [x, y, out, workspace] = memory.slices([self.x, self.y, self.out, cx.workspace]);
        gpu.kernels::<cuda::Kernels>().forward(&gpu.device, &self.params, [x, y], out, workspace);
    }
}

/// The gradient of [`Forward`] with respect to `x`.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Shapes.
    pub params: SsimParams,
    /// Images `[n,h,w,c]`.
    pub x: Span,
    /// The images to compare with, `[n,h,w,c]`.
    pub y: Span,
    /// Gradient of the mean similarity, one element.
    pub dout: Span,
    /// Gradient of `x`.
    pub dx: Span,
    /// Whether `dx` is set or added to.
    pub write: Write,
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "ssim.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x, &mut self.y, &mut self.dout]);
        visit.write(&mut self.dx, self.write);
    }

    fn check(&self) {
        self.params.check([self.x, self.y]);
        self.params.check([self.x, self.dx]);
        assert_eq!(self.dout.len, 1, "lengths of {self:?}");
    }

    /// The sums of a window, and that over windows.
    fn longest_sum(&self) -> usize {
        2 * WINDOW_LEN
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x, y, dout], [dx]) = memory.views([self.x, self.y, self.dout], [self.dx]);
        reference::backward(&self.params, [x, y], dout[0], dx, self.write);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        cpu::backward_workspace_len(cpu, &self.params)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let ([x, y, dout], [dx, workspace]) = memory.views([self.x, self.y, self.dout], [self.dx, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        cpu::backward(cpu, &self.params, [x, y], dout[0], (dx, self.write), workspace);
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        cuda::backward_workspace_len(&self.params)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let inputs = memory.slices([self.x, self.y, self.dout]);
        let [dx, workspace] = memory.slices([self.dx, cx.workspace]);
        gpu.kernels::<cuda::Kernels>().backward(&gpu.device, &self.params, inputs, (dx, self.write), workspace);
    }
}
