//! [`Pass`]: one kernel call as data.
//!
//! An operation's folder defines a struct for each of its kernels: parameters, and the operands as [`Span`]s. Its
//! [`Pass`] implementation is the only description of the call: which operands it reads and writes, what may alias, how
//! long they are, how much scratch it needs, and how each backend computes it. Plans, profilers, gradient checks and
//! the backends need to know nothing else. [`passes`](crate::passes) lists all passes.

#[cfg(feature = "cuda")]
use crate::gpu::{CudaMemory, Gpu};
use crate::host::Cpu;
use crate::memory::{HostMemory, Span};
use crate::random::Key;
use std::fmt::Debug;

/// Whether a pass overwrites its output or adds to it. The gradients of a value that is used twice are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// `out = value`; the old value is not read.
    Set,
    /// `out += value`
    Add,
}

impl Write {
    /// Writes one value.
    #[inline(always)]
    pub fn put<T: std::ops::Add<Output = T> + Copy>(self, out: &mut T, value: T) {
        *out = match self {
            Write::Set => value,
            Write::Add => *out + value,
        };
    }
}

/// What a pass does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Overwrites all of it, without reading it.
    Set,
    /// Reads it and writes it.
    Update,
}

impl From<Write> for Access {
    fn from(write: Write) -> Access {
        match write {
            Write::Set => Access::Set,
            Write::Add => Access::Update,
        }
    }
}

/// Which operands may share memory. All others are disjoint from everything that the pass writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliasing {
    /// Shares no element with a written operand.
    Disjoint,
    /// May be the same span as the pass's [`Output`](Aliasing::Output), if that is set and not added to: the pass then
    /// works in place, element by element.
    Overwritable,
    /// The output that may be the same span as an overwritable operand. A pass has at most one.
    Output,
}

/// Receives the operands of a pass, in the order of its documentation. Absent operands, which have empty spans, are
/// left out.
pub struct Operands<'v> {
    visit: &'v mut dyn FnMut(&mut Span, Access, Aliasing),
}

impl<'v> Operands<'v> {
    /// Calls `visit` for every operand.
    pub fn new(visit: &'v mut dyn FnMut(&mut Span, Access, Aliasing)) -> Operands<'v> {
        Operands { visit }
    }

    fn all<const N: usize>(&mut self, spans: [&mut Span; N], access: Access, aliasing: Aliasing) {
        for span in spans {
            if !span.is_empty() {
                (self.visit)(span, access, aliasing);
            }
        }
    }

    /// Operands that are read.
    pub fn read<const N: usize>(&mut self, spans: [&mut Span; N]) {
        self.all(spans, Access::Read, Aliasing::Disjoint);
    }

    /// Operands that are read, and that the output may overwrite.
    pub fn read_in_place<const N: usize>(&mut self, spans: [&mut Span; N]) {
        self.all(spans, Access::Read, Aliasing::Overwritable);
    }

    /// The output that may overwrite operands that are [read in place](Self::read_in_place).
    pub fn output(&mut self, span: &mut Span, write: Write) {
        self.all([span], write.into(), Aliasing::Output);
    }

    /// An operand that is set or added to.
    pub fn write(&mut self, span: &mut Span, write: Write) {
        self.all([span], write.into(), Aliasing::Disjoint);
    }

    /// Operands that are overwritten.
    pub fn set<const N: usize>(&mut self, spans: [&mut Span; N]) {
        self.all(spans, Access::Set, Aliasing::Disjoint);
    }

    /// Operands that are read and written.
    pub fn update<const N: usize>(&mut self, spans: [&mut Span; N]) {
        self.all(spans, Access::Update, Aliasing::Disjoint);
    }
}

/// What a pass is given in each run.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Scratch, at least as long as [`Backend::prepare`](crate::Backend::prepare) returned. Its contents are
    /// unspecified, before and after the pass.
    pub workspace: Span,
    /// Key of the random numbers that the pass draws.
    pub key: Key,
}

impl Context {
    /// For a pass that needs no scratch and draws nothing.
    pub const NONE: Context = Context::with_workspace(Span::EMPTY);

    /// For a pass that draws nothing.
    pub const fn with_workspace(workspace: Span) -> Context {
        Context { workspace, key: Key::ZERO }
    }
}

/// One kernel call, as data.
///
/// Every backend checks the contract before it runs a call: operands have the lengths that [`check`](Self::check)
/// asserts, and overlap only as [`operands`](Self::operands) allows. A violation panics, because it is a bug in the
/// caller, not bad input. A pass writes all of its outputs, and nothing else. The same call on the same bits gives the
/// same bits, with any number of threads.
pub trait Pass: Debug {
    /// Name in reports: `prelu.backward`.
    fn name(&self) -> &'static str;

    /// Visits every operand except the workspace.
    fn operands(&mut self, visit: &mut Operands<'_>);

    /// Asserts the lengths of the operands.
    fn check(&self);

    /// Number of floating-point operations, if the pass is bound by computation; 0 if it is bound by memory.
    fn flops(&self) -> usize {
        0
    }

    /// Number of terms of the longest sum. Rounding errors grow with it.
    fn longest_sum(&self) -> usize {
        1
    }

    /// Whether every run does the same, so that a device may record it. False if the pass draws random numbers or calls
    /// a function of the caller.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Whether it runs only on host memory.
    fn is_host_only(&self) -> bool {
        false
    }

    /// Computes it with naive loops: the oracle. Needs no workspace.
    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context);

    /// Makes the choices that depend on the CPU. Called once, before the first run.
    fn prepare_cpu(&mut self, _cpu: &Cpu) {}

    /// Elements of scratch that it needs on the CPU.
    fn cpu_workspace_len(&self, _cpu: &Cpu) -> usize {
        0
    }

    /// Computes it on the CPU.
    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context);

    /// Why a GPU's kernels cannot compute it, if a size is larger than they count.
    #[cfg(feature = "cuda")]
    fn cuda_limit(&self) -> Option<String> {
        None
    }

    /// Elements of scratch that it needs on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        0
    }

    /// Starts it on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context);
}
