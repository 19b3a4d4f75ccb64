//! [`Backward`]: from the gradient of a convolution of normalized values to that of the convolution before.

use super::cpu::Fusion;
use super::norm_conv::NormConvBackward;
use crate::ops::epilogue;
use crate::ops::prelude::*;

/// Operands of [`Backward`] if none is absent.
pub(crate) const MAX_OPERANDS: usize = 19;

/// [`NormConvBackward`], and the backward pass of the epilogue whose output was normalized.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The convolution and its normalization. `g` is the same span as the epilogue's `dz`.
    pub norm_conv: NormConvBackward,
    /// The epilogue, whose normalization is that of `norm_conv`.
    pub epilogue: epilogue::Backward,
}

impl Backward {
    /// The passes one after another.
    fn each(&self, mut f: impl FnMut(&dyn Pass)) {
        f(&self.norm_conv.grad_weight());
        f(self.norm_conv.grad_input().pass());
        f(&self.norm_conv.gradients());
        f(&self.epilogue);
    }

    /// The largest of what `f` says of the passes.
    fn largest(&self, f: impl Fn(&dyn Pass) -> usize) -> usize {
        let mut largest = 0;
        self.each(|pass| largest = largest.max(f(pass)));
        largest
    }
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "conv_epilogue.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        let Backward { norm_conv: conv, epilogue } = self;
        visit.read([&mut conv.x, &mut conv.map.scale, &mut conv.map.shift, &mut conv.gamma, &mut conv.beta]);
        visit.read([&mut conv.mean, &mut conv.rstd, &mut conv.w, &mut conv.dz, &mut conv.dz_sum]);
        visit.read([&mut epilogue.saved, &mut epilogue.dy]);
        for (span, write) in [&mut conv.dw, &mut conv.dgamma, &mut conv.dbeta] {
            visit.write(span, *write);
        }
        visit.write(&mut epilogue.db, epilogue.db_write);
        visit.set([&mut conv.coefficients, &mut epilogue.total, &mut epilogue.dz]);
        conv.g = epilogue.dz;
        epilogue.norm = conv.gradient();
    }

    fn check(&self) {
        let (p, norm) = (&self.epilogue.params, &self.norm_conv.norm);
        assert_eq!(self.epilogue.norm, self.norm_conv.gradient(), "the epilogue of another normalization: {self:?}");
        assert_eq!(self.norm_conv.g, self.epilogue.dz, "`dz` takes the place of `g`: {self:?}");
        assert_eq!([norm.rows, norm.channels], [p.rows, p.channels], "shapes of {self:?}");
        assert_eq!(self.norm_conv.grad_input().rows_and_channels(), [p.rows, p.channels], "shapes of {self:?}");
        assert_eq!(self.norm_conv.beta.len, norm.channels, "lengths of {self:?}");
        let [_, [height, width]] = self.norm_conv.conv.sizes();
        let channels = self.norm_conv.dz.len / (self.norm_conv.conv.params.n * height * width);
        assert!(self.norm_conv.dz_sum.is_empty() || self.norm_conv.dz_sum.len == channels, "lengths of {self:?}");
        self.each(|pass| pass.check());
    }

    fn flops(&self) -> usize {
        2 * self.norm_conv.conv.params.flops()
    }

    fn longest_sum(&self) -> usize {
        self.largest(|pass| pass.longest_sum())
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        self.each(|pass| pass.reference(memory, cx));
    }

    fn prepare_cpu(&mut self, cpu: &Cpu) {
        let (mut grad_weight, mut grad_input) = (self.norm_conv.grad_weight(), self.norm_conv.grad_input());
        grad_weight.prepare_cpu(cpu);
        grad_input.pass_mut().prepare_cpu(cpu);
        self.norm_conv.algos = [grad_weight.algo, grad_input.algo()];
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        match Fusion::new(cpu, &self.norm_conv, &self.epilogue) {
            Some(fusion) => fusion.workspace_len(cpu),
            None => self.largest(|pass| pass.cpu_workspace_len(cpu)),
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        match Fusion::new(cpu, &self.norm_conv, &self.epilogue) {
            Some(fusion) => fusion.run(cpu, memory, cx),
            None => self.each(|pass| pass.cpu(cpu, memory, cx)),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        self.largest(|pass| pass.cuda_workspace_len())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        self.each(|pass| pass.cuda(gpu, memory, cx));
    }
}
