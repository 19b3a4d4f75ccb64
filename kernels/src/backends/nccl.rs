//! Sums over GPUs with NCCL, NVIDIA's library of collective operations: one rank per GPU.
//!
//! The library is loaded when the first communicator is made. Sums run on the stream of the passes, in the GPU's
//! memory. The statistics of a batch, two values per channel, are merged on the host: NCCL has no operation for that.
//!
//! **This has never run**: it takes two GPUs.

use crate::backend::Backend;
use crate::collective::{BatchStats, Collective, CollectiveError, Communicator, Part, Staged};
use crate::gpu::{CudaMemory, Device};
use crate::memory::Span;
use crate::ops::add::Scale;
use crate::pass::{Context, Write};
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;
use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

/// The GPUs of all ranks.
pub(crate) struct Nccl {
    handle: sys::ncclComm_t,
    device: Arc<Device>,
    host: Staged<f32>,
}

// SAFETY: the handle may be used from any thread, by one at a time. Sums are started one after the other, as NCCL
// demands of every rank.
unsafe impl Send for Nccl {}
// SAFETY: as above.
unsafe impl Sync for Nccl {}

fn check<T>(call: &str, result: Result<T, NcclError>) -> Result<T, CollectiveError> {
    result.map_err(|NcclError(error)| CollectiveError(format!("NCCL failed in {call}: {error:?}")))
}

impl Nccl {
    /// Connects the GPUs of all ranks of `communicator`. All of them call it at the same time.
    pub(crate) fn new(device: &Arc<Device>, communicator: Arc<dyn Communicator>) -> Result<Nccl, CollectiveError> {
        // SAFETY: loads the library; its initialisers are NVIDIA's concern. cudarc would panic without a library, so
        // this asks first.
        if !unsafe { sys::is_culib_present() } {
            return Err(CollectiveError("no NCCL found (libnccl.so, version 2.22 or later)".to_owned()));
        }
        let (rank, ranks) = (communicator.rank(), communicator.ranks());
        let mut bytes = [0; 128];
        if rank == 0 {
            let id = check("ncclGetUniqueId", result::get_uniqueid())?;
            bytes = id.internal.map(|byte| byte as u8);
        }
        communicator.broadcast(&mut bytes);
        let id = sys::ncclUniqueId { internal: bytes.map(|byte| byte as c_char) };
        device.bind();
        let mut handle = ptr::null_mut();
        // SAFETY: `handle` is written by the call; every rank calls it with the same identifier and a number of its
        // own.
        check("ncclCommInitRank", unsafe { result::comm_init_rank(&mut handle, ranks as i32, id, rank as i32) })?;
        Ok(Nccl { handle, device: Arc::clone(device), host: Staged::new(communicator) })
    }
}

impl<B: Backend<Element = f32, Memory = CudaMemory>> Collective<B> for Nccl {
    fn rank(&self) -> usize {
        Collective::<B>::rank(&self.host)
    }

    fn ranks(&self) -> usize {
        Collective::<B>::ranks(&self.host)
    }

    fn sum(&self, backend: &B, memory: &mut CudaMemory, weight: f64, x: Span) {
        if weight != 1.0 {
            backend.run(memory, &Scale { weight, x, y: x, write: Write::Set }.into(), Context::NONE);
        }
        let [values] = memory.slices([x]);
        self.device.bind();
        let (pointer, stream) = (values.ptr.as_mut_ptr(), self.device.stream.0.cast());
        let (kind, sum) = (sys::ncclDataType_t::ncclFloat32, sys::ncclRedOp_t::ncclSum);
        // SAFETY: the slice is inside its allocation, which holds f32; NCCL may write what it reads; the stream is
        // alive, and runs what reads and writes the slice before and after in order.
        let summed = unsafe { result::all_reduce(pointer, pointer, values.len, kind, sum, self.handle, stream) };
        check("ncclAllReduce", summed).unwrap_or_else(|error| panic!("{error}"));
    }

    fn batch_stats(&self, backend: &B, memory: &mut CudaMemory, part: &Part, operands: BatchStats) {
        self.host.batch_stats(backend, memory, part, operands);
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        self.device.synchronize();
        // SAFETY: the communicator is alive, not used again, and what used it has ended. Nothing can be done about an
        // error here.
        let _ = unsafe { result::comm_destroy(self.handle) };
    }
}
