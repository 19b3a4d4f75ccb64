//! [`MemoryReport`]

use crate::units::mib;
use std::fmt;

/// What a session that runs one plan allocates, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryReport {
    /// Parameters, and their averages if a session keeps them.
    pub parameters: usize,
    /// Their gradients, and the sums of those of micro-batches if a session accumulates.
    pub gradients: usize,
    /// Optimizer state: two values for each parameter.
    pub optimizer_state: usize,
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
        let MemoryReport { parameters, gradients, optimizer_state, state, inputs, arena, workspace } = self;
        parameters + gradients + optimizer_state + state + inputs + arena + workspace
    }
}

/// One line per entry.
impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("optimizer state", self.optimizer_state),
            ("state", self.state),
            ("inputs", self.inputs),
            ("arena", self.arena),
            ("workspace", self.workspace),
        ] {
            writeln!(f, "{name:<15} {:>10.2} MiB", mib(bytes))?;
        }
        write!(f, "{:<15} {:>10.2} MiB", "total", mib(self.total()))
    }
}
