//! A backend that behaves like a device: the host runs ahead of it, and it needs scratch and has memory of its own.

use engine::{Backend, OutOfMemory, Reference};
use kernels::{Call, Context, HostMemory, Refusal, Span};

/// [`Reference`] behind the interface of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device;

type Memory = HostMemory<f64>;

/// Elements of scratch that a pass with sums asks for.
pub(crate) const WORKSPACE_LEN: usize = 4;

fn needs_workspace(call: &Call) -> bool {
    let name = call.pass().name();
    let op = name.split('.').next();
    name == "clip_norm.norm" || op.is_some_and(|op| ["conv2d", "batch_norm", "epilogue", "loss"].contains(&op))
}

impl Backend for Device {
    type Element = f64;
    type Memory = Memory;

    const STEPS_AHEAD: usize = 3;

    fn name(&self) -> String {
        "device".to_owned()
    }

    fn threads(&self) -> usize {
        1
    }

    fn allocate(&self, lens: &[usize]) -> Result<Memory, OutOfMemory> {
        Reference.allocate(lens)
    }

    fn write(&self, memory: &mut Memory, dst: Span, src: &[f64]) {
        Reference.write(memory, dst, src);
    }

    fn read(&self, memory: &Memory, src: Span, dst: &mut [f64]) {
        Reference.read(memory, src, dst);
    }

    fn refusal(&self, call: &Call) -> Option<Refusal> {
        call.pass().is_host_only().then_some(Refusal::HostOnly)
    }

    fn prepare(&self, call: &mut Call) -> usize {
        if needs_workspace(call) { WORKSPACE_LEN } else { 0 }
    }

    /// Overwrites the scratch that it was given.
    fn run(&self, memory: &mut Memory, call: &Call, cx: Context) {
        if needs_workspace(call) {
            assert_eq!(cx.workspace.len, WORKSPACE_LEN, "{call:?}");
            memory.get_mut(cx.workspace).fill(f64::NAN);
        }
        Reference.run(memory, call, cx);
    }
}
