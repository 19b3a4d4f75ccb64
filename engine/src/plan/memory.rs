//! [`MemoryReport`]

use super::Plan;
use kernels::Backend;
use std::fmt;

/// What a session that runs one plan allocates, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// Parameters.
    pub parameters: usize,
    /// Their gradients.
    pub gradients: usize,
    /// First and second moments of the optimizer.
    pub moments: usize,
    /// States, and their copy.
    pub state: usize,
    /// Inputs, cotangent and scalar outputs.
    pub inputs: usize,
    /// All other values.
    pub arena: usize,
    /// Scratch of the backend's passes.
    pub workspace: usize,
}

impl MemoryReport {
    /// The sum.
    pub fn total(&self) -> usize {
        let MemoryReport { parameters, gradients, moments, state, inputs, arena, workspace } = self;
        parameters + gradients + moments + state + inputs + arena + workspace
    }
}

/// One line an entry.
impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("state", self.state),
            ("inputs", self.inputs),
            ("arena", self.arena),
            ("workspace", self.workspace),
        ] {
            writeln!(f, "{name:<10} {:>10.2} MiB", mib(bytes))?;
        }
        write!(f, "{:<10} {:>10.2} MiB", "total", mib(self.total()))
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: usize) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

impl Plan {
    /// What a session that runs this plan alone allocates on the backend. Plans that run in one session share all but
    /// the inputs: of arena and workspace the session has the largest.
    pub fn memory<B: Backend>(&self, backend: &B) -> MemoryReport {
        let size = size_of::<B::Element>();
        let parameters = self.layout.parameters * size;
        MemoryReport {
            parameters,
            gradients: parameters,
            moments: 2 * parameters,
            state: 2 * self.layout.states * size,
            inputs: self.program.inputs_len * size,
            arena: self.placement.arena * size,
            workspace: self.workspace_len(backend) * size,
        }
    }

    /// Elements of scratch that the neediest step takes.
    pub(crate) fn workspace_len<B: Backend>(&self, backend: &B) -> usize {
        let bytes = self.program.steps.iter().map(|step| step.call.workspace_bytes(backend)).max().unwrap_or(0);
        bytes.div_ceil(size_of::<B::Element>())
    }
}
