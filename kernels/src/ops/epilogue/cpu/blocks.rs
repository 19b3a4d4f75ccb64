//! The passes in the blocks in which a convolution computes what they read: `z`, and the gradient of the normalized
//! values.

use super::activation::visit_activation;
use super::backward::{BackwardTask, Gradient};
use super::forward::{ForwardTask, Value};
use super::moments;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{Columns, Operands};
use crate::ops::activation::cpu::{Function, Visitor};
use crate::ops::batch_norm::cpu::{add_up, put_sums};
use crate::ops::conv2d::cpu::{Then, Touched};
use crate::ops::epilogue::params::EpilogueParams;
use crate::parallel::SharedSlice;
use crate::pass::Write;

/// Scratch of a pass in blocks, in elements: the moments of every block. It is enough for the backward pass, which
/// keeps a sum of each channel.
pub(in crate::ops) fn blocks_workspace_len(cpu: &Cpu, p: &EpilogueParams, blocks: usize) -> usize {
    f64_workspace_len(blocks * moments::len(Columns::new(cpu, p.rows, p.channels)))
}

/// Operands of the forward pass in blocks.
pub(in crate::ops) struct ForwardBlocks<'a> {
    /// Empty if it is absent.
    pub(in crate::ops) skip: &'a [f32],
    /// `None` if it takes the place of `z`.
    pub(in crate::ops) y: Option<&'a mut [f32]>,
    /// Mean and variance of `y`; both are empty if they are not wanted.
    pub(in crate::ops) batch_stats: [&'a mut [f32]; 2],
}

/// A pass with operands `O`, in the blocks in which `convolve` computes what it reads.
pub(in crate::ops) struct InBlocks<'a, O, C> {
    pub(in crate::ops) cpu: &'a Cpu,
    pub(in crate::ops) params: &'a EpilogueParams,
    pub(in crate::ops) operands: O,
    pub(in crate::ops) blocks: usize,
    /// As long as [`blocks_workspace_len`] says.
    pub(in crate::ops) workspace: &'a mut [f32],
    pub(in crate::ops) convolve: C,
}

impl<O, C> InBlocks<'_, O, C>
where
    Self: Visitor,
{
    /// Runs convolution and pass.
    pub(in crate::ops) fn run(self) {
        visit_activation(self.params, self);
    }
}

/// As [`forward`](super::forward).
impl<C: FnOnce(Then<'_>)> Visitor for InBlocks<'_, ForwardBlocks<'_>, C> {
    fn visit<F: Function>(self, f: F) {
        let InBlocks { cpu, params: p, operands, blocks, workspace, convolve } = self;
        let ForwardBlocks { skip, y, batch_stats } = operands;
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
        let touches = [Touched::Read(skip), y.map_or(Touched::Read(&[]), Touched::Written)];
        convolve(Then { run: &run, touches: &touches });
        if wants_stats {
            moments::finish(columns, parts, batch_stats);
        }
    }
}

/// Operands of the backward pass in blocks.
pub(in crate::ops) struct BackwardBlocks<'a> {
    /// Empty if there is no activation.
    pub(in crate::ops) saved: &'a [f32],
    /// What was normalized.
    pub(in crate::ops) x: &'a [f32],
    /// Its mean.
    pub(in crate::ops) mean: &'a [f32],
    /// `a`, `b` and `c`
    pub(in crate::ops) coefficients: &'a [f32],
    /// Empty if it is absent.
    pub(in crate::ops) dy: &'a [f32],
    /// Empty if it is not wanted.
    pub(in crate::ops) total: &'a mut [f32],
    /// Empty if it is not wanted.
    pub(in crate::ops) db: &'a mut [f32],
    pub(in crate::ops) db_write: Write,
}

/// As [`backward`](super::backward), where `convolve` computes `g`, whose place `dz` takes.
impl<C: FnOnce(Then<'_>)> Visitor for InBlocks<'_, BackwardBlocks<'_>, C> {
    fn visit<F: Function>(self, f: F) {
        let InBlocks { cpu, params: p, operands, blocks, workspace, convolve } = self;
        let BackwardBlocks { saved, x, mean, coefficients, dy, total, db, db_write } = operands;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let sums = &mut as_f64(workspace)[..blocks * p.channels];
        sums.fill(0.0);
        let (shared, total) = (SharedSlice::new(sums), SharedSlice::new(total));
        let gradient = Gradient::new(f, p, true, !dy.is_empty());
        let run = |block: usize, start: usize, dz: &mut [f32]| {
            let len = dz.len();
            let dz = dz.as_mut_ptr();
            // `dz` holds `g`. It also stands for an operand that is absent, whose value is not used.
            let of = |values: &[f32]| match values {
                [] => dz.cast_const(),
                _ => values[start..start + len].as_ptr(),
            };
            // SAFETY: no other block has these pixels and these sums.
            let (total, sums) = unsafe {
                let total = (!total.is_empty()).then(|| total.slice(start, len).as_mut_ptr());
                (total.unwrap_or(std::ptr::null_mut()), shared.slice(block * p.channels, p.channels))
            };
            let operands = Operands { inputs: [of(saved), dz, of(x), of(dy)], outputs: [dz, total], len };
            cpu.isa.dispatch(BackwardTask { columns, gradient, operands, coefficients: [mean, coefficients], sums });
        };
        let touches = [Touched::Read(saved), Touched::Read(x), Touched::Read(dy), Touched::Written(total)];
        convolve(Then { run: &run, touches: &touches });
        put_sums(db, add_up(sums, p.channels, p.channels), db_write);
    }
}
