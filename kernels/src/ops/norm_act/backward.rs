//! [`Backward`]: from the gradient of `y` to that of `x`.

use super::cpu;
use crate::ops::activation::{self, Activation};
use crate::ops::batch_norm;
use crate::ops::prelude::*;

/// The backward pass of an activation, and that of the normalization before it.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The function.
    pub activation: Activation,
    /// Its input or its output, as [`Activation::saved`] says.
    pub saved: Span,
    /// Gradient of the output `[rows, channels]`.
    pub dy: Span,
    /// The normalization, whose `dy` is `dz`, written: the same span as `dx` if it is not wanted.
    pub norm: batch_norm::Backward,
}

impl Backward {
    /// The passes one after another.
    pub fn passes(&self) -> (activation::Backward, batch_norm::Backward) {
        let Backward { activation, saved, dy, norm } = *self;
        (activation::Backward { activation, saved, dy, dx: norm.dy, write: Write::Set }, norm)
    }

    /// Whether `dz` is not the same as `dx`.
    fn keeps_dz(&self) -> bool {
        self.norm.dy != self.norm.dx
    }
}

impl Pass for Backward {
    fn name(&self) -> &'static str {
        "norm_act.backward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        let keeps_dz = self.keeps_dz();
        let norm = &mut self.norm;
        visit.read([&mut self.saved, &mut norm.x, &mut norm.gamma, &mut norm.mean, &mut norm.rstd]);
        visit.read_in_place([&mut self.dy]);
        visit.write(&mut norm.dgamma, norm.dgamma_write);
        visit.write(&mut norm.dbeta, norm.dbeta_write);
        if keeps_dz {
            visit.output(&mut norm.dy, Write::Set);
            visit.write(&mut norm.dx, norm.dx_write);
        } else {
            visit.output(&mut norm.dx, norm.dx_write);
            norm.dy = norm.dx;
        }
    }

    fn check(&self) {
        assert!(self.keeps_dz() || self.norm.dx_write == Write::Set, "`dz` takes the place of `dx`: {self:?}");
        let (activation, norm) = self.passes();
        activation.check();
        norm.check();
    }

    fn longest_sum(&self) -> usize {
        self.norm.longest_sum()
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        let (activation, norm) = self.passes();
        activation.reference(memory, cx);
        norm.reference(memory, cx);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        self.norm.cpu_workspace_len(cpu)
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let norm = &self.norm;
        let dx = if self.keeps_dz() { norm.dx } else { Span::EMPTY };
        let reads = [self.saved, norm.x, norm.gamma, norm.mean, norm.rstd, self.dy];
        let writes = [norm.dy, dx, norm.dgamma, norm.dbeta, cx.workspace];
        let ([others @ .., dy], [dz, dx, dgamma, dbeta, workspace]) = memory.views_in_place(reads, writes);
        let [saved, x, gamma, mean, rstd] = others.map(distinct);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let operands = cpu::Sums { saved, x, dy, mean, rstd, dz: &mut *dz };
        let sums = cpu::backward_sums(cpu, &norm.params, self.activation, operands, workspace);
        batch_norm::cpu::put_sums(dgamma, sums[0], norm.dgamma_write);
        batch_norm::cpu::put_sums(dbeta, sums[1], norm.dbeta_write);
        if !norm.dx.is_empty() {
            let (dz, dx) = if self.keeps_dz() { (Some(&*dz), dx) } else { (None, dz) };
            let out = (dx, norm.dx_write);
            batch_norm::cpu::backward_input(cpu, &norm.params, [x, gamma, mean, rstd], sums, dz, out);
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        self.norm.cuda_workspace_len()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        let (activation, norm) = self.passes();
        activation.cuda(gpu, memory, cx);
        norm.cuda(gpu, memory, cx);
    }
}
