//! [`Pass`]: one kernel call as data.
//!
//! An operation's folder defines a struct for each of its kernels: parameters, and the operands as [`Span`]s. Its
//! [`Pass`] implementation says everything about the call, once: which operands it reads and writes, what may alias,
//! how long they are, how much scratch it needs, and how each backend computes it. Plans, profilers, gradient checks,
//! fault injection and the backends ask the pass; none of them knows one from another. [`passes`](crate::passes) lists
//! them all.

#[cfg(feature = "cuda")]
use crate::gpu::{CudaMemory, Gpu};
use crate::host::Cpu;
use crate::memory::{HostMemory, Span};
use crate::random::Key;
use std::fmt::Debug;

/// Whether a pass overwrites its output or adds to it. Gradients of a value that is used twice are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// `out = value`; what was there is not read.
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

/// Which operands may lie in the same place. All others are disjoint from everything that the pass writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliasing {
    /// Shares no element with a written operand.
    Disjoint,
    /// May be the pass's [`Output`](Aliasing::Output) itself, element by element, if that is set: the pass then works
    /// in place.
    Overwritable,
    /// The output that may take the place of an overwritable operand. A pass has at most one.
    Output,
}

/// Receives the operands of a pass, in the order of the pass's documentation. Absent operands, which are empty, are
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

/// What a pass gets anew in every run.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Scratch, of at least as many elements as [`Backend::prepare`](crate::Backend::prepare) said. What it holds
    /// before and after the pass is unspecified.
    pub workspace: Span,
    /// Key of what the pass draws at random.
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
/// The contract, which every backend checks at entry, once: operands have the lengths that [`check`](Self::check)
/// asserts, and do not overlap except as [`operands`](Self::operands) allows. A violation panics: it is a bug of the
/// caller, not of its input. Outputs are written completely, and nothing else is. The same call on the same bits gives
/// the same bits, on any number of threads.
pub trait Pass: Debug {
    /// Name in reports: `prelu.backward`.
    fn name(&self) -> &'static str;

    /// Visits every operand, the workspace aside.
    fn operands(&mut self, visit: &mut Operands<'_>);

    /// Asserts the lengths of the operands.
    fn check(&self);

    /// Floating-point operations of a pass whose time is that of computing; 0 if it is that of moving bytes.
    fn flops(&self) -> usize {
        0
    }

    /// Terms of the longest sum: rounding errors grow with it.
    fn longest_sum(&self) -> usize {
        1
    }

    /// Whether it does the same whenever it runs, so that a device may record it: it draws nothing at random, and is no
    /// function of the caller's own.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Whether it runs only where the memory is the host's.
    fn is_host_only(&self) -> bool {
        false
    }

    /// Computes it by naive loops: the oracle. Needs no workspace.
    fn reference(&self, memory: &mut HostMemory<f64>, cx: Context);

    /// Makes the choices that depend on the CPU, once, before the pass runs any number of times.
    fn prepare_cpu(&mut self, _cpu: &Cpu) {}

    /// Elements of scratch that it needs on the CPU.
    fn cpu_workspace_len(&self, _cpu: &Cpu) -> usize {
        0
    }

    /// Computes it on the CPU.
    fn cpu(&self, cpu: &Cpu, memory: &mut HostMemory<f32>, cx: Context);

    /// Elements of scratch that it needs on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda_workspace_len(&self) -> usize {
        0
    }

    /// Starts it on a GPU.
    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu, memory: &mut CudaMemory, cx: Context);
}
