//! The GPU backend: hand-written CUDA kernels, launched through the NVIDIA driver.

use crate::backend::{Backend, Refusal};
use crate::collective::Distributed;
#[cfg(feature = "nccl")]
use crate::collective::{Collective, CollectiveError, Communicator};
use crate::gpu::{self, CudaError, CudaMemory, Event, Gpu};
use crate::mark::Mark;
use crate::memory::{OutOfMemory, Span};
use crate::ops::conv2d::{self, Precision};
use crate::pass::Context;
use crate::passes::{Call, load_kernels};
use std::fmt;
use std::sync::Arc;

/// Computes in f32 on an NVIDIA GPU of compute capability 7.0 or later (2017).
///
/// Passes run asynchronously, one after the other; reading waits for them, writing does not. All kernels sum in an
/// order that depends only on the shapes, so the same calls give the same bits with the same GPU and
/// driver.
///
/// [`Cuda::with_precision`] computes convolutions on tensor cores.
///
/// **No GPU has run this backend yet**: see the README for how it has been checked.
///
/// # Panics
/// Passes panic if the driver fails, as it does when a GPU is lost.
#[derive(Clone)]
pub struct Cuda {
    gpu: Arc<Gpu>,
    graphs: bool,
    precision: Precision,
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cuda").field("gpu", &self.gpu.ordinal).field("name", &self.gpu_name()).finish()
    }
}

impl Cuda {
    /// Number of GPUs, which may be 0.
    ///
    /// # Errors
    /// [`CudaError`] if there is no driver, or it is too old or does not start.
    pub fn gpu_count() -> Result<usize, CudaError> {
        gpu::device_count()
    }

    /// Checks that there is a driver, and a GPU `ordinal`.
    ///
    /// # Errors
    /// [`CudaError`] if not.
    pub fn check(ordinal: usize) -> Result<(), CudaError> {
        gpu::check_gpu(ordinal)
    }

    /// GPU `ordinal`, counted from 0. The driver compiles the kernels for it, which takes seconds the first time and is
    /// cached.
    ///
    /// # Errors
    /// [`CudaError`] if there is no driver or no such GPU, the GPU is too old, or the driver fails.
    pub fn new(ordinal: usize) -> Result<Cuda, CudaError> {
        Cuda::with_precision(ordinal, Precision::F32)
    }

    /// Like [`new`](Self::new), with convolutions of a precision.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`CudaError::NoTf32`] if the GPU's compute capability is less than 8.0 (2020) and the
    /// precision is not [`Precision::F32`].
    pub fn with_precision(ordinal: usize, precision: Precision) -> Result<Cuda, CudaError> {
        let mut gpu = Gpu::new(ordinal)?;
        let (major, minor) = gpu.device.capability;
        if precision != Precision::F32 && major < 8 {
            return Err(CudaError::NoTf32 { ordinal, name: gpu.device.name.clone(), major, minor });
        }
        load_kernels(&mut gpu)?;
        conv2d::cuda::load_kernels(&mut gpu, precision)?;
        Ok(Cuda { gpu: Arc::new(gpu), graphs: true, precision })
    }

    /// The same without CUDA graphs: every kernel is launched by itself, with the same bits. Shows which launch fails,
    /// and how much time graphs save.
    pub fn without_graphs(self) -> Cuda {
        Cuda { graphs: false, ..self }
    }

    /// The driver's name for the GPU.
    pub fn gpu_name(&self) -> &str {
        &self.gpu.device.name
    }

    /// The GPU's number.
    pub fn ordinal(&self) -> usize {
        self.gpu.ordinal
    }
}

impl Backend for Cuda {
    type Element = f32;
    type Memory = CudaMemory;

    /// With small networks, these take a few hundred milliseconds.
    const STEPS_AHEAD: usize = 32;

    fn name(&self) -> String {
        let (major, minor) = self.gpu.device.capability;
        match self.precision {
            Precision::F32 => format!("cuda-sm_{major}{minor}"),
            precision => format!("cuda-sm_{major}{minor}-{precision}"),
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    /// One: the thread that starts the passes.
    fn threads(&self) -> usize {
        1
    }

    fn remark(&self) -> Option<String> {
        let error = self.gpu.device.refused_graph.get()?;
        Some(format!("no CUDA graphs, as {error}; each kernel is launched by itself, to the same results"))
    }

    fn synchronize(&self) {
        self.gpu.device.synchronize();
    }

    fn mark(&self) -> Mark {
        Mark::gpu(Event::record(&self.gpu.device))
    }

    /// As a CUDA graph, if the driver makes one.
    fn replay(&self, memory: &mut CudaMemory, number: usize, passes: &mut dyn FnMut(&mut CudaMemory)) {
        if self.graphs {
            memory.replay(number, passes);
        } else {
            passes(memory);
        }
    }

    fn allocate(&self, lens: &[usize]) -> Result<CudaMemory, OutOfMemory> {
        CudaMemory::new(&self.gpu.device, lens)
    }

    fn write(&self, memory: &mut CudaMemory, dst: Span, src: &[f32]) {
        memory.write(dst, src);
    }

    fn read(&self, memory: &CudaMemory, src: Span, dst: &mut [f32]) {
        memory.read(src, dst);
    }

    fn refusal(&self, call: &Call) -> Option<Refusal> {
        if call.pass().is_host_only() {
            return Some(Refusal::HostOnly);
        }
        call.parts().iter().find_map(limit).map(Refusal::TooLarge)
    }

    fn prepare(&self, call: &mut Call) -> usize {
        call.pass().cuda_workspace_len()
    }

    fn run(&self, memory: &mut CudaMemory, call: &Call, cx: Context) {
        call.check(cx.workspace);
        call.pass().cuda(&self.gpu, memory, cx);
    }
}

/// Most elements of an operand: kernels have indices of 32 bits, of which some are signed.
const MOST_ELEMENTS: usize = i32::MAX as usize;

/// Why the kernels cannot compute a pass, if a size is larger than they count.
fn limit(call: &Call) -> Option<String> {
    let pass = call.pass();
    let operands = call.operands().into_iter().map(|(span, _)| span.len);
    let largest = operands.chain([pass.cuda_workspace_len()]).max().unwrap_or(0);
    let too_large = || format!("an operand has {largest} elements, and CUDA kernels count to {MOST_ELEMENTS}");
    pass.cuda_limit().or_else(|| (largest > MOST_ELEMENTS).then(too_large))
}

impl Distributed for Cuda {
    #[cfg(feature = "nccl")]
    fn collective(&self, communicator: Arc<dyn Communicator>) -> Result<Arc<dyn Collective<Cuda>>, CollectiveError> {
        Ok(Arc::new(super::nccl::Nccl::new(&self.gpu.device, communicator)?))
    }
}
