//! CUDA graphs: passes that the driver records, and then starts all at once.
//!
//! Launching a kernel takes the host a few microseconds, and a training step launches a few hundred. On a fast GPU,
//! small kernels take no longer than their launch. A graph is one launch.

use super::device::{CudaError, Device, OwnedStream, check, expect};
use cudarc::driver::result;
use cudarc::driver::sys;
use std::cell::Cell;
use std::ptr;

/// State of a sequence of passes that is started repeatedly.
#[derive(Default)]
pub(super) enum Recording {
    /// It has not run yet. The first run is not recorded: the driver may load a kernel at its first launch, which it
    /// cannot do while it records.
    #[default]
    New,
    /// It has run once.
    Run,
    /// It is recorded.
    Graph(Graph),
    /// The driver would not record it.
    Refused,
}

thread_local! {
    /// The device whose passes this thread records, and the stream that it records. This is not the device's own
    /// stream: what other threads start there would be recorded, too.
    static RECORDING: Cell<Option<(*const Device, sys::CUstream)>> = const { Cell::new(None) };
}

/// Ends this thread's recording, even if a pass panics.
struct Recorder;

impl Recorder {
    fn new(device: &Device, stream: sys::CUstream) -> Recorder {
        RECORDING.set(Some((ptr::from_ref(device), stream)));
        Recorder
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        RECORDING.set(None);
    }
}

/// The stream on which this thread starts passes.
pub(super) fn stream_of_passes(device: &Device) -> sys::CUstream {
    match RECORDING.get() {
        Some((recorded, stream)) if ptr::eq(recorded, device) => stream,
        _ => device.stream.0,
    }
}

/// A recorded sequence of kernels, with their arguments.
pub(super) struct Graph(sys::CUgraphExec);

// SAFETY: the handle is only handed to the driver, which may be called from any thread.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `passes` starts on the device, without running it. The device must be bound.
    ///
    /// # Errors
    /// If the driver cannot record it.
    pub(super) fn record(device: &Device, passes: impl FnOnce()) -> Result<Graph, CudaError> {
        let stream = OwnedStream::new();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        check("cuStreamBeginCapture", unsafe { result::stream::begin_capture(stream.0, mode) })?;
        {
            let _recorder = Recorder::new(device, stream.0);
            passes();
        }
        // SAFETY: as above.
        let graph = check("cuStreamEndCapture", unsafe { result::stream::end_capture(stream.0) })?;
        let flags = sys::CUgraphInstantiate_flags(0);
        // SAFETY: the graph is alive until it is destroyed; what is instantiated from it does not need it afterwards.
        unsafe {
            let executable = result::graph::instantiate(graph, flags);
            let _ = result::graph::destroy(graph);
            check("cuGraphInstantiate", executable).map(Graph)
        }
    }

    /// Starts the graph after everything started before. The device must be bound.
    pub(super) fn launch(&self, device: &Device) {
        // SAFETY: graph and stream are alive. The kernels of the graph have the arguments of launches whose callers
        // answered for them, in the memory that owns the graph.
        expect("cuGraphLaunch", unsafe { result::graph::launch(self.0, device.stream.0) });
    }
}

/// The device must be bound.
impl Drop for Graph {
    fn drop(&mut self) {
        // An error here cannot be handled.
        // SAFETY: the graph is alive, and not used again; the driver frees a running one only after it has ended.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}
