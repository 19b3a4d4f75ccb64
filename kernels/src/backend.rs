//! [`Backend`]: a device that runs passes, and its memory.

use crate::conv2d::Precision;
use crate::element::Element;
use crate::mark::Mark;
use crate::memory::{OutOfMemory, Span};
use crate::ops::fill::Fill;
use crate::pass::Context;
use crate::passes::Call;

/// Why a backend cannot run a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call is [for the host only](crate::Pass::is_host_only).
    HostOnly,
    /// A size is larger than the device's kernels count, as this says.
    TooLarge(String),
}

/// A device that runs passes.
///
/// The caller owns all memory: passes allocate nothing. [`prepare`](Self::prepare) returns how much scratch a call
/// needs.
pub trait Backend {
    /// The number type that it computes with.
    type Element: Element;
    /// Its memory.
    type Memory: Send;

    /// Number of training steps that the host should start before it reads their results. A device that computes
    /// asynchronously would be idle if the host read after every step. A backend on the host gains nothing from this.
    const STEPS_AHEAD: usize = 1;

    /// Device and code path, for reports: `reference`, `cpu-avx2`.
    fn name(&self) -> String;

    /// Number of computing threads, for reports.
    fn threads(&self) -> usize;

    /// Runs `f` where passes start fastest and allocate nothing: on the CPU, in a thread of the pool. Wrap a training
    /// loop in it.
    fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        f()
    }

    /// What convolutions multiply, if operands are rounded before.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// What has not gone as it should so far, though results are the same: for the user.
    fn remark(&self) -> Option<String> {
        None
    }

    /// Waits until every started pass has ended.
    fn synchronize(&self) {}

    /// The moment at which everything started before has ended. Passes on a GPU run asynchronously: two such moments
    /// have the time of the passes between them, a clock on the host would not.
    fn mark(&self) -> Mark {
        Mark::now()
    }

    /// Runs the calls that `passes` makes. They must be the same calls whenever the number and the memory are the same.
    /// A device may record them once, and later repeat the recording instead of calling `passes`; the bits are the
    /// same.
    ///
    /// `passes` must not copy to or from the host.
    fn replay(&self, memory: &mut Self::Memory, _number: usize, passes: &mut dyn FnMut(&mut Self::Memory)) {
        passes(memory);
    }

    /// Zero-initialised memory; region `i` has `lens[i]` elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the device does not have enough memory.
    fn allocate(&self, lens: &[usize]) -> Result<Self::Memory, OutOfMemory>;

    /// Copies `src` from the host to `dst`, which has the same length.
    fn write(&self, memory: &mut Self::Memory, dst: Span, src: &[Self::Element]);

    /// Copies `src` to `dst` on the host, which has the same length.
    fn read(&self, memory: &Self::Memory, src: Span, dst: &mut [Self::Element]);

    /// Why it cannot run a call, if so.
    fn refusal(&self, _call: &Call) -> Option<Refusal> {
        None
    }

    /// Makes the choices of a call that depend on the device, such as the algorithm, and returns the scratch that the
    /// call needs, in elements. Do this once, before the first run: a call that is not prepared makes its choices in
    /// every run.
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
