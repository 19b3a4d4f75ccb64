//! The host's CPU.

use crate::backend::Backend;
use crate::collective::Distributed;
use crate::host::Cpu;
use crate::memory::{HostMemory, OutOfMemory, Span};
use crate::pass::Context;
use crate::passes::Call;

impl Backend for Cpu {
    type Element = f32;
    type Memory = HostMemory<f32>;

    fn name(&self) -> String {
        format!("cpu-{}", self.isa)
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.pool.enter(f)
    }

    fn allocate(&self, lens: &[usize]) -> Result<HostMemory<f32>, OutOfMemory> {
        HostMemory::new(lens)
    }

    fn write(&self, memory: &mut HostMemory<f32>, dst: Span, src: &[f32]) {
        memory.get_mut(dst).copy_from_slice(src);
    }

    fn read(&self, memory: &HostMemory<f32>, src: Span, dst: &mut [f32]) {
        dst.copy_from_slice(memory.get(src));
    }

    fn prepare(&self, call: &mut Call) -> usize {
        call.prepare_cpu(self);
        call.pass().cpu_workspace_len(self)
    }

    fn run(&self, memory: &mut HostMemory<f32>, call: &Call, cx: Context) {
        call.check(cx.workspace);
        call.pass().cpu(self, memory, cx);
    }
}

impl Distributed for Cpu {}
