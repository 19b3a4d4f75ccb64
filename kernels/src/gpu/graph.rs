//! CUDA graphs: passes that the driver has recorded, and starts all at once.
//!
//! To launch a kernel takes the host some microseconds, and some hundreds of them are a training step: on a fast GPU,
//! small kernels take no longer than that. A graph is one launch.

use super::device::{Device, OwnedStream, expect};
use cudarc::driver::result;
use cudarc::driver::sys;
use std::cell::Cell;
use std::ptr;

/// What is known of a sequence of passes that is started again and again.
#[derive(Default)]
pub(super) enum Recording {
    /// It has not run yet. The first time it runs without being recorded: the driver may load a kernel when it is first
    /// launched, which it cannot do while it records.
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
    /// The device of which this thread records passes, and the stream that it records: one of its own, since other
    /// threads may start passes on the device's meanwhile, which would be recorded with them.
    static RECORDING: Cell<Option<(*const Device, sys::CUstream)>> = const { Cell::new(None) };
}

/// Ends this thread's recording, also when a pass panics.
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
    /// What `passes` starts on the device, recorded and not run; nothing if the driver cannot. The device is bound.
    pub(super) fn record(device: &Device, passes: impl FnOnce()) -> Option<Graph> {
        let stream = OwnedStream::new();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        unsafe { result::stream::begin_capture(stream.0, mode) }.ok()?;
        {
            let _recorder = Recorder::new(device, stream.0);
            passes();
        }
        // SAFETY: as above.
        let graph = unsafe { result::stream::end_capture(stream.0) }.ok().filter(|graph| !graph.is_null())?;
        let flags = sys::CUgraphInstantiate_flags(0);
        // SAFETY: the graph is alive until it is destroyed, which what is made of it does not mind.
        unsafe {
            let executable = result::graph::instantiate(graph, flags);
            let _ = result::graph::destroy(graph);
            executable.ok().map(Graph)
        }
    }

    /// Starts it, after everything that was started before. The device is bound.
    pub(super) fn launch(&self, device: &Device) {
        // SAFETY: graph and stream are alive. The kernels of the graph have the arguments of launches whose callers
        // answered for them, in the memory that owns the graph.
        expect("cuGraphLaunch", unsafe { result::graph::launch(self.0, device.stream.0) });
    }
}

/// The device is bound.
impl Drop for Graph {
    fn drop(&mut self) {
        // What fails here cannot be helped.
        // SAFETY: the graph is alive, and not used again; the driver waits with freeing one that runs.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}
