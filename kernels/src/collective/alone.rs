//! [`Alone`]: a run with one rank.

use super::communicator::Communicator;
use super::operations::{BatchStats, Collective};
use super::part::Part;
use crate::backend::Backend;
use crate::memory::Span;
use crate::ops::add::Scale;
use crate::pass::{Context, Write};

/// The only rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn all_gather(&self, from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
    }

    fn all_to_all(&self, from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
    }

    fn broadcast(&self, _: &mut [u8]) {}

    fn abort(&self, code: u8) -> ! {
        std::process::exit(code.into())
    }
}

impl<B: Backend> Collective<B> for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn sum(&self, backend: &B, memory: &mut B::Memory, weight: f64, x: Span) {
        backend.run(memory, &Scale { weight, x, y: x, write: Write::Set }.into(), Context::NONE);
    }

    fn batch_stats(&self, _: &B, _: &mut B::Memory, _: &Part, _: BatchStats) {}
}
