//! [`Backend`]: a device, its memory, and the running of passes on it.

use crate::element::Element;
use crate::memory::{OutOfMemory, Span};
use crate::ops::fill::Fill;
use crate::pass::Context;
use crate::passes::Call;

/// A device that runs passes.
///
/// The caller owns all memory: passes allocate nothing, and take scratch that [`prepare`](Self::prepare) gives the size
/// of.
pub trait Backend {
    /// What it computes with.
    type Element: Element;
    /// Its memory.
    type Memory: Send;

    /// Training steps that the host should start before it reads their results. A device that computes while the host
    /// goes on would have nothing to do while the host reads; on the host itself there is nothing to gain.
    const STEPS_AHEAD: usize = 1;

    /// The device and path, for reports: `reference`, `cpu-avx2`.
    fn name(&self) -> String;

    /// Threads that compute, for reports.
    fn threads(&self) -> usize;

    /// Runs `f` where passes start fastest, and without allocating. Wrap a training loop in it.
    fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        f()
    }

    /// Waits until every pass that was started has ended, so that it can be timed: a GPU runs passes while the host
    /// goes on.
    fn synchronize(&self) {}

    /// Calls `passes`, which runs the same calls whenever it is given with this number for this memory. A device that
    /// can repeat them without being told each again may do so, to the same bits, and not call it.
    ///
    /// The passes must not read to the host or write from it.
    fn replay(&self, memory: &mut Self::Memory, _number: usize, passes: &mut dyn FnMut(&mut Self::Memory)) {
        passes(memory);
    }

    /// Zero-initialised memory; region `i` has `lens[i]` elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the device has not enough.
    fn allocate(&self, lens: &[usize]) -> Result<Self::Memory, OutOfMemory>;

    /// Copies `src` from the host to `dst`, of the same length.
    fn write(&self, memory: &mut Self::Memory, dst: Span, src: &[Self::Element]);

    /// Copies `src` to `dst` on the host, of the same length.
    fn read(&self, memory: &Self::Memory, src: Span, dst: &mut [Self::Element]);

    /// Whether it can run a call: one that is [for the host alone](crate::Pass::is_host_only) may not run on a device.
    fn supports(&self, _call: &Call) -> bool {
        true
    }

    /// Makes the choices of a call that depend on the device, and gives the scratch that it needs, in elements. To be
    /// called once, before the call runs any number of times; a call that has not been prepared makes its choices
    /// whenever it runs.
    fn prepare(&self, call: &mut Call) -> usize;

    /// Runs a call.
    ///
    /// # Panics
    /// If the call violates its [contract](crate::Pass), or the workspace is too small.
    fn run(&self, memory: &mut Self::Memory, call: &Call, cx: Context);

    /// Sets every element of `out`.
    fn fill(&self, memory: &mut Self::Memory, out: Span, value: f64) {
        self.run(memory, &Fill { value, out }.into(), Context::NONE);
    }
}
