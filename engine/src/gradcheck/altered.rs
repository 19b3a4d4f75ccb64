//! [`Altered`]: [`Reference`] whose calls run in another way.

use kernels::{Backend, Call, Context, HostMemory, OutOfMemory, Reference, Span};

/// How the calls run.
pub(super) trait Alteration {
    /// Name of the backend, in reports.
    fn name(&self) -> String {
        Reference.name()
    }

    /// Makes a backend's choices for a call. Calls run without a workspace.
    fn prepare(&self, call: &mut Call) {
        Reference.prepare(call);
    }

    /// Runs a call.
    fn run(&self, memory: &mut HostMemory<f64>, call: &Call, cx: Context);
}

/// A backend that differs from [`Reference`] in how calls run.
pub(super) struct Altered<A>(pub(super) A);

impl<A: Alteration> Backend for Altered<A> {
    type Element = f64;
    type Memory = HostMemory<f64>;

    fn name(&self) -> String {
        self.0.name()
    }

    fn threads(&self) -> usize {
        Reference.threads()
    }

    fn allocate(&self, lens: &[usize]) -> Result<HostMemory<f64>, OutOfMemory> {
        Reference.allocate(lens)
    }

    fn write(&self, memory: &mut HostMemory<f64>, dst: Span, src: &[f64]) {
        Reference.write(memory, dst, src);
    }

    fn read(&self, memory: &HostMemory<f64>, src: Span, dst: &mut [f64]) {
        Reference.read(memory, src, dst);
    }

    fn prepare(&self, call: &mut Call) -> usize {
        self.0.prepare(call);
        0
    }

    fn run(&self, memory: &mut HostMemory<f64>, call: &Call, cx: Context) {
        self.0.run(memory, call, cx);
    }
}
