//! [`Event`]: a moment by the clock of the GPU.

use super::device::{Device, expect};
use cudarc::driver::result;
use cudarc::driver::sys;
use std::fmt;
use std::sync::Arc;

/// The moment at which the device had done what was started before.
pub(crate) struct Event {
    device: Arc<Device>,
    event: sys::CUevent,
}

// SAFETY: the handle is only handed to the driver, which may be called from any thread.
unsafe impl Send for Event {}
// SAFETY: as above; the driver locks.
unsafe impl Sync for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.device.name).finish()
    }
}

impl Event {
    /// After everything started so far on the device's stream.
    pub(crate) fn record(device: &Arc<Device>) -> Event {
        device.bind();
        let event = expect("cuEventCreate", result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT));
        let event = Event { device: Arc::clone(device), event };
        // SAFETY: event and stream are alive.
        expect("cuEventRecord", unsafe { result::event::record(event.event, device.stream.0) });
        event
    }

    /// Waits for this event, and returns the seconds since an earlier one of the same device.
    pub(crate) fn seconds_since(&self, earlier: &Event) -> f64 {
        self.device.bind();
        // SAFETY: the event is alive.
        expect("cuEventSynchronize", unsafe { result::event::synchronize(self.event) });
        // cudarc would call `cuEventElapsedTime_v2`, which drivers before CUDA 13 do not have.
        type ElapsedTime = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
        let mut milliseconds = 0.0f32;
        // SAFETY: the library is loaded, and its function has this type. Both events are alive, and have been reached:
        // the earlier one is of the same stream.
        let elapsed = unsafe {
            let function = sys::culib().get::<ElapsedTime>(b"cuEventElapsedTime\0");
            let function = function.expect("every driver has cuEventElapsedTime");
            function(&mut milliseconds, earlier.event, self.event)
        };
        expect("cuEventElapsedTime", elapsed.result());
        f64::from(milliseconds) / 1e3
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.device.bind();
        // An error here cannot be handled. If it matters, an earlier call has reported it.
        // SAFETY: the event is alive, and not used again.
        let _ = unsafe { result::event::destroy(self.event) };
    }
}
