//! Device memory: an allocation per region, copies to it from the host, and recordings of the passes that use it.

use super::device::{Device, allocate, expect};
use super::graph::{Graph, Recording};
use super::upload::Uploads;
use crate::{OutOfMemory, Span};
use cudarc::driver::result;
use cudarc::driver::sys::CUdeviceptr;
use std::sync::Arc;

/// Address of f32 values on the device, as kernels take it. 0 for an operand that is absent.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ptr(CUdeviceptr);

/// f32 values on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) ptr: Ptr,
    pub(crate) len: usize,
}

#[cfg(feature = "nccl")]
impl Ptr {
    /// The address as libraries other than the driver take it.
    pub(crate) fn as_mut_ptr(self) -> *mut std::ffi::c_void {
        std::ptr::without_provenance_mut(self.0 as usize)
    }
}

impl Slice {
    /// An operand that is absent.
    pub(crate) const EMPTY: Slice = Slice { ptr: Ptr(0), len: 0 };

    /// Whether 16 bytes can be read at once, at every multiple of 4 elements.
    pub(crate) fn is_aligned(self) -> bool {
        self.ptr.0.is_multiple_of(16)
    }

    /// The elements from `offset` on.
    pub(crate) fn from(self, offset: usize) -> Slice {
        assert!(offset <= self.len, "{offset} of {}", self.len);
        Slice { ptr: Ptr(self.ptr.0 + (offset * size_of::<f32>()) as u64), len: self.len - offset }
    }

    /// Asserts that a workspace has at least `len` elements.
    pub(crate) fn scratch(self, len: usize) -> Slice {
        assert!(self.len >= len, "workspace of {} elements, {len} needed", self.len);
        self
    }
}

/// The regions of a [`Cuda`](crate::Cuda) backend's memory.
pub struct CudaMemory {
    device: Arc<Device>,
    /// Address and length of each region. The address of an empty region is 0: the driver refuses to allocate 0 bytes.
    regions: Vec<(CUdeviceptr, usize)>,
    /// Copies from the host. `None` until the first one.
    uploads: Option<Uploads>,
    /// State of the passes of each number.
    recordings: Vec<Recording>,
}

impl CudaMemory {
    pub(crate) fn new(device: &Arc<Device>, lens: &[usize]) -> Result<CudaMemory, OutOfMemory> {
        device.bind();
        let regions = Vec::with_capacity(lens.len());
        let mut memory = CudaMemory { device: Arc::clone(device), regions, uploads: None, recordings: Vec::new() };
        for &len in lens {
            let bytes = len.saturating_mul(size_of::<f32>());
            if len == 0 {
                memory.regions.push((0, 0));
                continue;
            }
            let address = allocate(bytes)?;
            memory.regions.push((address, len));
            // SAFETY: the allocation has `bytes` bytes.
            expect("cuMemsetD8Async", unsafe { result::memset_d8_async(address, 0, bytes, device.stream.0) });
        }
        Ok(memory)
    }

    /// The elements of a span.
    ///
    /// # Panics
    /// If the span is not inside its region.
    fn slice(&self, span: Span) -> Slice {
        if span.is_empty() {
            return Slice::EMPTY;
        }
        let (address, len) = self.regions[span.region.0 as usize];
        assert!(span.offset <= len && span.len <= len - span.offset, "{span:?} exceeds its region of {len} elements");
        // Kernels index the elements of an operand with 32 bits.
        assert!(span.len <= i32::MAX as usize, "{span:?} is too long for a CUDA kernel");
        Slice { ptr: Ptr(address + (span.offset * size_of::<f32>()) as u64), len: span.len }
    }

    /// The operands of one pass, whose contract has been checked.
    ///
    /// # Panics
    /// If a span is not inside its region.
    pub(crate) fn slices<const N: usize>(&self, spans: [Span; N]) -> [Slice; N] {
        spans.map(|span| self.slice(span))
    }

    /// Copies to the device. Returns when `src` has been read, often before the copy begins.
    pub(crate) fn write(&mut self, dst: Span, src: &[f32]) {
        let to = self.slice(dst);
        assert_eq!(to.len, src.len(), "{dst:?}");
        if to.len > 0 {
            self.device.bind();
            let longest = || self.regions.iter().map(|&(_, len)| len).max().unwrap_or(0);
            let uploads = self.uploads.get_or_insert_with(|| Uploads::new(longest()));
            // SAFETY: the slice is inside its allocation, which holds f32.
            unsafe { uploads.write(&self.device, to.ptr.0, src) };
        }
    }

    /// Copies from the device, and waits until it has arrived.
    pub(crate) fn read(&self, src: Span, dst: &mut [f32]) {
        let from = self.slice(src);
        assert_eq!(from.len, dst.len(), "{src:?}");
        if from.len > 0 {
            self.device.bind();
            // SAFETY: the slice is inside its allocation, which holds f32; `dst` is borrowed until the copy has ended.
            expect("cuMemcpyDtoHAsync", unsafe { result::memcpy_dtoh_async(dst, from.ptr.0, self.device.stream.0) });
            self.device.synchronize();
        }
    }

    /// Starts passes, which are the same whenever the number is the same: as a graph if the driver can record one, else
    /// one by one.
    pub(crate) fn replay(&mut self, number: usize, passes: &mut dyn FnMut(&mut CudaMemory)) {
        if self.recordings.len() <= number {
            self.recordings.resize_with(number + 1, Recording::default);
        }
        let device = Arc::clone(&self.device);
        device.bind();
        let recording = match &self.recordings[number] {
            Recording::Graph(graph) => return graph.launch(&device),
            Recording::Refused => return passes(self),
            Recording::New => {
                passes(self);
                Recording::Run
            }
            Recording::Run => match Graph::record(&device, || passes(self)) {
                Ok(graph) => {
                    graph.launch(&device);
                    Recording::Graph(graph)
                }
                Err(error) => {
                    // Only the first reason is told.
                    let _ = device.refused_graph.set(error);
                    passes(self);
                    Recording::Refused
                }
            },
        };
        self.recordings[number] = recording;
    }
}

impl Drop for CudaMemory {
    fn drop(&mut self) {
        self.device.bind();
        // An error here cannot be handled. If it matters, an earlier call has reported it.
        // SAFETY: the allocations are alive, and not used again: what uses them has ended, and copies from the host are
        // ordered before what the stream of the passes does with them.
        unsafe {
            let _ = result::stream::synchronize(self.device.stream.0);
            for (address, len) in self.regions.drain(..) {
                if len > 0 {
                    let _ = result::free_sync(address);
                }
            }
        }
        self.recordings.clear();
        self.uploads = None;
    }
}
