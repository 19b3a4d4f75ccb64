//! Channels of several tensors one after another, and some of the channels of one.
//!
//! ```text
//! Concat   y[r, begin_i + c] = x_i[r, c]                   begin_i = channels of x_0 to x_{i-1}
//! Slice    y[r, c] (+)= x[r, begin + c]                    its `y` has fewer channels than `x`
//! Embed    y[r, begin + c] (+)= x[r, c], else (+)= 0       its `y` has more channels than `x`
//! ```
//!
//! Channels are the last dimension, rows all others. [`Embed`] is the gradient of [`Slice`]; that of [`Concat`] is a
//! [`Slice`] of `dy` for each input. A concatenation of more than [`MAX_PARTS`] tensors takes several passes. Aliasing:
//! all operands are disjoint.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod params;
mod reference;
#[cfg(test)]
mod tests;

pub use params::ChannelsParams;

use crate::ops::prelude::*;

/// Most inputs of a [`Concat`].
pub const MAX_PARTS: usize = 8;

/// Puts the channels of several tensors one after another.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    /// Rows of all operands.
    pub rows: usize,
    /// Inputs `[rows, channels of the part]`. Those that are absent, at the end, are empty.
    pub parts: [Span; MAX_PARTS],
    /// Channels of each part; 0 if it is absent.
    pub channels: [usize; MAX_PARTS],
    /// Output `[rows, channels of all parts]`.
    pub y: Span,
}

impl Concat {
    /// For parts with these numbers of channels.
    ///
    /// # Panics
    /// If there are more than [`MAX_PARTS`].
    pub fn new(rows: usize, parts: &[(Span, usize)], y: Span) -> Concat {
        assert!(parts.len() <= MAX_PARTS, "{} parts", parts.len());
        let part = |i: usize| parts.get(i).copied().unwrap_or((Span::EMPTY, 0));
        let (parts, channels) = (std::array::from_fn(|i| part(i).0), std::array::from_fn(|i| part(i).1));
        Concat { rows, parts, channels, y }
    }

    /// Channels of the output.
    fn width(&self) -> usize {
        self.channels.iter().sum()
    }
}

impl Pass for Concat {
    fn name(&self) -> &'static str {
        "concat.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read(self.parts.each_mut());
        visit.set([&mut self.y]);
    }

    fn check(&self) {
        let are_rows = self.parts.iter().zip(self.channels).all(|(part, channels)| part.len == self.rows * channels);
        assert!(are_rows && self.y.len == self.rows * self.width(), "lengths of {self:?}");
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let (parts, [y]) = memory.views(self.parts, [self.y]);
        reference::concat(self.rows, parts, self.channels, y);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let (parts, [y]) = memory.views(self.parts, [self.y]);
        cpu::concat(cpu, parts, self.channels, y);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let (parts, [y]) = (memory.slices(self.parts), memory.slices([self.y]));
        gpu.kernels::<cuda::Kernels>().concat(&gpu.device, parts, self.channels, y);
    }
}

/// Some channels of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Shapes.
    pub params: ChannelsParams,
    /// Input `[rows, wide]`.
    pub x: Span,
    /// Output `[rows, narrow]`.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}

impl Pass for Slice {
    fn name(&self) -> &'static str {
        "concat.slice"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.write(&mut self.y, self.write);
    }

    fn check(&self) {
        self.params.check(self.x, self.y);
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        reference::slice(&self.params, x, y, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        cpu::slice(cpu, &self.params, x, y, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        gpu.kernels::<cuda::Kernels>().slice(&gpu.device, &self.params, x, y, self.write);
    }
}

/// A tensor as some channels of a wider one, whose other channels are 0.
#[derive(Clone, Copy, Debug)]
pub struct Embed {
    /// Shapes.
    pub params: ChannelsParams,
    /// Input `[rows, narrow]`.
    pub x: Span,
    /// Output `[rows, wide]`.
    pub y: Span,
    /// Whether `y` is set or added to.
    pub write: Write,
}

impl Pass for Embed {
    fn name(&self) -> &'static str {
        "concat.embed"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.read([&mut self.x]);
        visit.write(&mut self.y, self.write);
    }

    fn check(&self) {
        self.params.check(self.y, self.x);
    }

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        reference::embed(&self.params, x, y, self.write);
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        let ([x], [y]) = memory.views([self.x], [self.y]);
        cpu::embed(cpu, &self.params, x, y, self.write);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [x, y] = memory.slices([self.x, self.y]);
        gpu.kernels::<cuda::Kernels>().embed(&gpu.device, &self.params, x, y, self.write);
    }
}
