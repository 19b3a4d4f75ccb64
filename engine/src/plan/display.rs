//! The printed plan.

use super::{Plan, Purpose};
use crate::regions;
use crate::units::mib;
use kernels::{Access, Region, Span};
use std::fmt;

/// A table of the steps, each with what it writes: shape, whether it is set or added to, and where; then the memory,
/// for elements of 4 bytes.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outputs: Vec<&str> = self.purpose.outputs().iter().map(|&node| self.graph.name(node)).collect();
        let purpose = match self.purpose {
            Purpose::Training { .. } => "training",
            Purpose::Gradients { .. } => "gradients",
            Purpose::Inference { .. } => "inference",
        };
        writeln!(f, "{purpose} plan of {}: {} steps", outputs.join(", "), self.len())?;
        let names = self.program.steps.iter().map(|step| self.graph.name(step.node).len());
        let width = names.max().unwrap_or(0).max(4);
        writeln!(f, "{:>4}  {:<9}  {:<22}  {:<width$}  writes", "step", "phase", "pass", "node")?;
        for (i, step) in self.program.steps.iter().enumerate() {
            let name = self.graph.name(step.node);
            write!(f, "{i:>4}  {:<9}  {:<22}  {name:<width$}  ", step.phase, step.action.name())?;
            let operands = step.action.operands();
            let written = operands.iter().filter(|(_, access)| *access != Access::Read);
            for (j, &(value, access)) in written.enumerate() {
                let separator = if j > 0 { ", " } else { "" };
                write!(f, "{separator}{}", self.operand(value, access, &operands))?;
            }
            writeln!(f)?;
        }
        let f32s = |len: usize| mib(len * size_of::<f32>());
        let (parameters, trained) = (f32s(self.layout.parameters), f32s(self.layout.trained));
        write!(f, "parameters {parameters:.2} MiB, ")?;
        if trained != parameters {
            write!(f, "{trained:.2} MiB of them trained: ")?;
        }
        writeln!(f, "as much for gradients, twice for the optimizer")?;
        writeln!(f, "states {:.2} MiB, inputs {:.2} MiB", f32s(self.layout.states), f32s(self.program.inputs_len))?;
        let (arena, peak) = (f32s(self.placement.arena), f32s(self.arena_peak()));
        write!(f, "arena {arena:.2} MiB; {peak:.2} MiB of it in use at the peak")
    }
}

impl Plan {
    /// `[64, 32, 32, 32] set arena+4096 in place`
    fn operand(&self, value: Span, access: Access, operands: &[(Span, Access)]) -> String {
        let place = self.place_of(value);
        let shape = self.program.values[value.offset].shape;
        let how = if access == Access::Set { "set" } else { "add" };
        let overwrites = |&(other, access): &(Span, Access)| access == Access::Read && self.place_of(other) == place;
        let in_place = if operands.iter().any(overwrites) { " in place" } else { "" };
        format!("{shape} {how} {}+{}{in_place}", region_name(place.region), place.offset)
    }
}

fn region_name(region: Region) -> &'static str {
    match region {
        regions::PARAMETERS => "parameters",
        regions::GRADIENTS => "gradients",
        regions::STATES => "states",
        regions::INPUTS => "inputs",
        regions::ARENA => "arena",
        _ => "?",
    }
}
