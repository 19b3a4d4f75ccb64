//! Copying from the host to the device while the device computes.
//!
//! A copy from ordinary host memory waits for its turn in the stream, and the host waits with it. So the host only
//! copies the values to pinned memory. From there the GPU copies them to staging memory, on a separate stream, while
//! passes run. Only the copy from staging memory to the destination, which is 10 to 100 times as fast, takes its turn
//! with the passes:
//!
//! ```text
//! host              values -> pinned
//! stream of copies                    pinned -> staging
//! stream of passes  ... previous step ...               staging -> destination, next step ...
//! ```
//!
//! There are [`SLOTS`] pairs of pinned and staging memory, used in turn. The host fills pinned memory when the copy out
//! of it has ended, and that copy begins when the staging memory has been read. So the host is at most [`SLOTS`] copies
//! ahead of the device, which also limits how many steps it starts ahead.
//!
//! A pair is made when it is used first. If there is no memory for one, those that there are take turns; if there is
//! none at all, the host waits for each copy.

use super::device::{Device, OwnedStream, allocate, expect};
use crate::OutOfMemory;
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUdeviceptr};
use std::slice;

/// Copies in flight: the two inputs of a training step, for two steps, in two pieces each.
const SLOTS: usize = 8;

/// Most elements of a slot; longer copies are made in pieces. 1 MiB takes a few times as long as starting a copy.
const PIECE: usize = 1 << 18;

/// The copies to one memory.
pub(super) struct Uploads {
    stream: OwnedStream,
    slots: Vec<Slot>,
    next: usize,
    /// Slots that there may be: fewer than [`SLOTS`] if there was no memory for more.
    most: usize,
    /// Elements of a slot.
    piece: usize,
}

struct Slot {
    /// Pinned memory of the host.
    pinned: *mut f32,
    /// Memory of the device.
    staging: CUdeviceptr,
    /// Recorded when `pinned` has been read.
    copied: sys::CUevent,
    /// Recorded when `staging` has been read.
    used: sys::CUevent,
}

// SAFETY: the handles are only handed to the driver, which may be called from any thread; the pinned memory is the
// slot's own.
unsafe impl Send for Slot {}

impl Uploads {
    /// For copies of up to `longest` elements in one piece, if [`PIECE`] allows. The device must be bound.
    pub(super) fn new(longest: usize) -> Uploads {
        let slots = Vec::with_capacity(SLOTS);
        Uploads { stream: OwnedStream::new(), slots, next: 0, most: SLOTS, piece: longest.clamp(1, PIECE) }
    }

    /// The slot whose turn it is. `None` if there is no memory for a single one.
    fn next_slot(&mut self) -> Option<&mut Slot> {
        if self.next == self.slots.len() && self.next < self.most {
            match Slot::new(self.piece * size_of::<f32>()) {
                Ok(slot) => self.slots.push(slot),
                Err(OutOfMemory { .. }) => self.most = self.slots.len(),
            }
        }
        let turn = if self.next < self.most { self.next } else { 0 };
        self.next = turn + 1;
        self.slots.get_mut(turn)
    }

    /// Copies to `dst`, in turn with the passes on the device's stream. Returns when `src` has been read; the copy may
    /// not have begun. The device must be bound.
    ///
    /// # Safety
    /// `dst` must be the address of `src.len()` f32 on the device until the copy has ended.
    pub(super) unsafe fn write(&mut self, device: &Device, dst: CUdeviceptr, src: &[f32]) {
        let (copies, passes) = (self.stream.0, device.stream.0);
        for (i, piece) in src.chunks(self.piece).enumerate() {
            let to = dst + (i * self.piece * size_of::<f32>()) as u64;
            let Some(slot) = self.next_slot() else {
                // SAFETY: the caller answers for `to`; the piece is borrowed until the copy has ended.
                expect("cuMemcpyHtoDAsync", unsafe { result::memcpy_htod_async(to, piece, passes) });
                device.synchronize();
                continue;
            };
            // SAFETY: streams and events are alive. The pinned memory is no longer read by the copy before, which
            // `copied` waits for, and has room for a piece; so has the staging memory, which that copy's turn on the
            // passes' stream has read before `used`. The caller answers for `to`.
            unsafe {
                expect("cuEventSynchronize", result::event::synchronize(slot.copied));
                slot.pinned.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                let pinned = slice::from_raw_parts(slot.pinned, piece.len());
                wait(copies, slot.used);
                expect("cuMemcpyHtoDAsync", result::memcpy_htod_async(slot.staging, pinned, copies));
                expect("cuEventRecord", result::event::record(slot.copied, copies));
                wait(passes, slot.copied);
                let bytes = size_of_val(piece);
                expect("cuMemcpyDtoDAsync", result::memcpy_dtod_async(to, slot.staging, bytes, passes));
                expect("cuEventRecord", result::event::record(slot.used, passes));
            }
        }
    }
}

/// Makes a stream wait for the last recording of an event. Does nothing if it was never recorded.
///
/// # Safety
/// Both must be alive.
unsafe fn wait(stream: sys::CUstream, event: sys::CUevent) {
    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
    // SAFETY: as the caller says.
    expect("cuStreamWaitEvent", unsafe { result::stream::wait_event(stream, event, flags) });
}

impl Slot {
    fn new(bytes: usize) -> Result<Slot, OutOfMemory> {
        // Events without time stamps are faster.
        let event = || expect("cuEventCreate", result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING));
        // SAFETY: what is allocated is written before it is read: by the host, and by the copy from there.
        let pinned = unsafe { result::malloc_host(bytes, 0) };
        let pinned = pinned.map_err(|_| OutOfMemory { bytes, device: "the host, in pinned memory" })?.cast();
        let mut slot = Slot { pinned, staging: 0, copied: event(), used: event() };
        slot.staging = allocate(bytes)?;
        Ok(slot)
    }
}

/// The device must be bound, and everything started on it must have ended.
impl Drop for Slot {
    fn drop(&mut self) {
        // An error here cannot be handled. If it matters, an earlier call has reported it.
        // SAFETY: all are alive, and not used again.
        unsafe {
            let _ = result::free_host(self.pinned.cast());
            if self.staging != 0 {
                let _ = result::free_sync(self.staging);
            }
            let _ = result::event::destroy(self.copied);
            let _ = result::event::destroy(self.used);
        }
    }
}
