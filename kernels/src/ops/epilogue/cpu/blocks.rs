//! The forward pass in the blocks in which a convolution computes `z`.

use super::activation::visit_activation;
use super::forward::{ForwardTask, Value};
use super::moments;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::Columns;
use crate::ops::activation::cpu::{Function, Visitor};
use crate::ops::conv2d::cpu::Then;
use crate::ops::epilogue::params::EpilogueParams;
use crate::parallel::SharedSlice;

/// Scratch of [`forward_in_blocks`], in elements: the moments of every block.
pub(in crate::ops) fn blocks_workspace_len(cpu: &Cpu, p: &EpilogueParams, blocks: usize) -> usize {
    f64_workspace_len(blocks * moments::len(Columns::new(cpu, p.rows, p.channels)))
}

/// Operands of [`forward_in_blocks`].
pub(in crate::ops) struct BlocksOperands<'a> {
    /// Empty if it is absent.
    pub(in crate::ops) skip: &'a [f32],
    /// `None` if it takes the place of `z`.
    pub(in crate::ops) y: Option<&'a mut [f32]>,
    /// Mean and variance of `y`; both are empty if they are not wanted.
    pub(in crate::ops) batch_stats: [&'a mut [f32]; 2],
}

/// As [`forward`](super::forward), in the blocks in which `convolve` computes `z`.
pub(in crate::ops) fn forward_in_blocks(
    cpu: &Cpu,
    p: &EpilogueParams,
    operands: BlocksOperands<'_>,
    blocks: usize,
    workspace: &mut [f32],
    convolve: impl FnOnce(Then<'_>),
) {
    visit_activation(p, Blocks { cpu, p, operands, blocks, workspace, convolve });
}

/// Arguments of [`forward_in_blocks`].
struct Blocks<'a, C> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    operands: BlocksOperands<'a>,
    blocks: usize,
    workspace: &'a mut [f32],
    convolve: C,
}

impl<C: FnOnce(Then<'_>)> Visitor for Blocks<'_, C> {
    fn visit<F: Function>(self, f: F) {
        let Blocks { cpu, p, operands: BlocksOperands { skip, y, batch_stats }, blocks, workspace, convolve } = self;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let wants_stats = !batch_stats[0].is_empty();
        let part_len = if wants_stats { moments::len(columns) } else { 0 };
        let parts = &mut as_f64(workspace)[..blocks * part_len];
        parts.fill(0.0);
        let shared = SharedSlice::new(parts);
        let skip_weight = (!skip.is_empty()).then_some(p.skip_weight as f32);
        let value = Value { f, skip_weight, wants_stats };
        let y = y.map(SharedSlice::new);
        let run = |block: usize, start: usize, values: &mut [f32]| {
            let len = values.len();
            let skip = if skip.is_empty() { skip } else { &skip[start..start + len] };
            // SAFETY: every block has its own, and one thread.
            let moments = unsafe { shared.slice(block * part_len, part_len) };
            let (z, y) = match &y {
                None => (None, values),
                // SAFETY: no other block has these pixels.
                Some(y) => (Some(&*values), unsafe { y.slice(start, len) }),
            };
            cpu.isa.dispatch(ForwardTask { columns, value, z, skip, y, moments });
        };
        convolve(Then { run: &run, reads: skip, writes: y });
        if wants_stats {
            moments::finish(columns, parts, batch_stats);
        }
    }
}
