//! [`Reference`]: the oracle.

use crate::backend::Backend;
use crate::collective::Distributed;
use crate::memory::{HostMemory, OutOfMemory, Span};
use crate::pass::Context;
use crate::passes::Call;

/// Naive f64 loops that follow the equations line by line. Slow. Every other backend is checked against it, and its own
/// gradients against finite differences.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    type Element = f64;
    type Memory = HostMemory<f64>;

    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn threads(&self) -> usize {
        1
    }

    fn allocate(&self, lens: &[usize]) -> Result<HostMemory<f64>, OutOfMemory> {
        HostMemory::new(lens)
    }

    fn write(&self, memory: &mut HostMemory<f64>, dst: Span, src: &[f64]) {
        memory.get_mut(dst).copy_from_slice(src);
    }

    fn read(&self, memory: &HostMemory<f64>, src: Span, dst: &mut [f64]) {
        dst.copy_from_slice(memory.get(src));
    }

    fn prepare(&self, _: &mut Call) -> usize {
        0
    }

    fn run(&self, memory: &mut HostMemory<f64>, call: &Call, cx: Context) {
        call.check(cx.workspace);
        call.pass().reference(memory, cx);
    }
}

impl Distributed for Reference {}
