//! One value everywhere: `out = value`.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use crate::ops::prelude::*;

/// Sets every element.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// What every element becomes.
    pub value: f64,
    /// Output.
    pub out: Span,
}

impl Pass for Fill {
    fn name(&self) -> &'static str {
        "fill"
    }

    fn operands(&mut self, visit: &mut Operands<'_>) {
        visit.set([&mut self.out]);
    }

    fn check(&self) {}

    fn reference(&self, memory: &mut HostMemory<f64>, _: Context) {
        memory.get_mut(self.out).fill(self.value);
    }

    fn cpu(&self, _: &Cpu, memory: &mut HostMemory<f32>, _: Context) {
        memory.get_mut(self.out).fill(self.value as f32);
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, _: Context) {
        let [out] = memory.slices([self.out]);
        gpu.kernels::<cuda::Kernels>().fill(&gpu.device, out, self.value as f32);
    }
}
