//! [`Forward`]: a convolution, and what follows it.

use crate::ops::conv2d::Conv;
use crate::ops::conv2d::cpu::Then;
use crate::ops::epilogue;
use crate::ops::prelude::*;

/// The two passes.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The convolution, which sets `z`.
    pub conv: Conv,
    /// What follows it: reads `z`.
    pub epilogue: epilogue::Forward,
}

impl Forward {
    /// Whether `z` is not the same as `y`.
    fn keeps_z(&self) -> bool {
        self.epilogue.z != self.epilogue.y
    }
}

impl Pass for Forward {
    fn name(&self) -> &'static str {
        "conv_epilogue.forward"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        let keeps_z = self.keeps_z();
        let epilogue = &mut self.epilogue;
        visit.read(self.conv.reads_mut());
        visit.read([&mut epilogue.skip]);
        visit.set([&mut epilogue.y, &mut epilogue.mean, &mut epilogue.var]);
        if keeps_z {
            visit.set([&mut epilogue.z]);
        } else {
            epilogue.z = epilogue.y;
        }
        *self.conv.output_mut() = epilogue.z;
    }

    fn check(&self) {
        let p = &self.epilogue.params;
        assert_eq!(self.conv.output(), (self.epilogue.z, Write::Set), "the epilogue of another convolution: {self:?}");
        assert_eq!(self.conv.rows_and_channels(), [p.rows, p.channels], "shapes of {self:?}");
        self.conv.pass().check();
        self.epilogue.check();
    }

    fn flops(&self) -> usize {
        self.conv.pass().flops()
    }

    fn longest_sum(&self) -> usize {
        self.conv.pass().longest_sum().max(self.epilogue.longest_sum())
    }

    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context) {
        self.conv.pass().reference(memory, cx);
        self.epilogue.reference(memory, cx);
    }

    fn prepare_cpu(&mut self, cpu: &Cpu) {
        self.conv.pass_mut().prepare_cpu(cpu);
    }

    fn cpu_workspace_len(&self, cpu: &Cpu) -> usize {
        let (conv, p) = (self.conv.pass().cpu_workspace_len(cpu), &self.epilogue.params);
        match self.conv.blocks(cpu) {
            Some(blocks) => conv + epilogue::cpu::blocks_workspace_len(cpu, p, blocks),
            None => conv.max(self.epilogue.cpu_workspace_len(cpu)),
        }
    }

    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context) {
        let Some(blocks) = self.conv.blocks(cpu) else {
            self.conv.pass().cpu(cpu, memory, cx);
            self.epilogue.cpu(cpu, memory, cx);
            return;
        };
        let Forward { mut conv, epilogue: e } = *self;
        let [x, scale, shift, w, bias] = conv.reads_mut().map(|span| *span);
        let kept = if self.keeps_z() { e.z } else { Span::EMPTY };
        let ([x, scale, shift, w, bias, skip], [z, y, mean, var, workspace]) =
            memory.views([x, scale, shift, w, bias, e.skip], [kept, e.y, e.mean, e.var, cx.workspace]);
        let workspace = scratch(workspace, self.cpu_workspace_len(cpu));
        let (workspace, parts) = workspace.split_at_mut(self.conv.pass().cpu_workspace_len(cpu));
        let (out, y) = if self.keeps_z() { (z, Some(y)) } else { (y, None) };
        let operands = epilogue::cpu::ForwardBlocks { skip, y, batch_stats: [mean, var] };
        let convolve = |then: Then<'_>| self.conv.cpu_then(cpu, [x, scale, shift, w, bias], out, then, workspace);
        epilogue::cpu::InBlocks { cpu, params: &e.params, operands, blocks, workspace: parts, convolve }.run();
    }

    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        self.conv.pass().cuda_workspace_len().max(self.epilogue.cuda_workspace_len())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context) {
        self.conv.pass().cuda(gpu, memory, cx);
        self.epilogue.cuda(gpu, memory, cx);
    }
}
