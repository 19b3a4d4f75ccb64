//! The forward pass.

use super::activation::visit_activation;
use super::moments::{self, Moments};
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{Columns, Operands, RowFunction, map_rows};
use crate::ops::activation::cpu::{Function, Visitor};
use crate::ops::epilogue::params::EpilogueParams;
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};

/// Scratch of [`forward`], in elements: the moments of every task.
pub(crate) fn forward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    let columns = Columns::new(cpu, p.rows, p.channels);
    f64_workspace_len(columns.tasks() * moments::len(columns))
}

/// Operands of [`forward`].
pub(crate) struct ForwardOperands<'a> {
    /// `None` if `y` holds it.
    pub(crate) z: Option<&'a [f32]>,
    /// Empty if it is absent.
    pub(crate) skip: &'a [f32],
    pub(crate) y: &'a mut [f32],
    /// Mean and variance of `y`; both are empty if they are not wanted.
    pub(crate) batch_stats: [&'a mut [f32]; 2],
}

/// `y = f(z) + skip_weight skip`, and the batch statistics of `y`.
pub(crate) fn forward(cpu: &Cpu, p: &EpilogueParams, operands: ForwardOperands<'_>, workspace: &mut [f32]) {
    visit_activation(p, Forward { cpu, p, operands, workspace });
}

/// Arguments of [`forward`].
struct Forward<'a> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    operands: ForwardOperands<'a>,
    workspace: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Forward { cpu, p, operands: ForwardOperands { z, skip, y, batch_stats }, workspace } = self;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let wants_stats = !batch_stats[0].is_empty();
        let part_len = if wants_stats { moments::len(columns) } else { 0 };
        let parts = &mut as_f64(workspace)[..columns.tasks() * part_len];
        let (y, shared) = (SharedSlice::new(y), SharedSlice::new(parts));
        let skip_weight = (!skip.is_empty()).then_some(p.skip_weight as f32);
        let value = Value { f, skip_weight, wants_stats };
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            // SAFETY: tasks do not overlap.
            let (y, part) = unsafe { (y.slice(range.start, range.len()), shared.slice(task * part_len, part_len)) };
            let z = z.map(|z| &z[range.clone()]);
            let skip = if skip.is_empty() { skip } else { &skip[range] };
            part.fill(0.0);
            cpu.isa.dispatch(ForwardTask { columns, value, z, skip, y, moments: part });
        });
        if wants_stats {
            moments::finish(columns, parts, batch_stats);
        }
    }
}

/// Some rows, to whose [`Moments`] theirs are added, unless those are empty.
pub(super) struct ForwardTask<'a, F> {
    pub(super) columns: Columns,
    pub(super) value: Value<F>,
    pub(super) z: Option<&'a [f32]>,
    pub(super) skip: &'a [f32],
    pub(super) y: &'a mut [f32],
    pub(super) moments: &'a mut [f64],
}

impl<F: Function> Kernel for ForwardTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardTask { columns, value, z, skip, y, moments } = self;
        let len = y.len();
        assert!(z.is_none_or(|z| z.len() == len) && (skip.is_empty() || skip.len() == len));
        let y = y.as_mut_ptr();
        let z = z.map_or(y.cast_const(), <[f32]>::as_ptr);
        let skip = if skip.is_empty() { z } else { skip.as_ptr() };
        let operands = Operands { inputs: [z, skip], outputs: [y], len };
        // SAFETY: all operands have `len` elements, and an input is the output or does not overlap it.
        unsafe { map_rows(s, &value, columns, operands, &mut Moments::new(moments)) };
    }
}

/// `y = f(z) + skip_weight skip`, and `d = y - center` and `d^2`
#[derive(Clone, Copy)]
pub(super) struct Value<F> {
    pub(super) f: F,
    /// `None` if there is no skip.
    pub(super) skip_weight: Option<f32>,
    /// Whether the sums are wanted.
    pub(super) wants_stats: bool,
}

impl<F: Function> RowFunction<2, 1, 1, 2> for Value<F> {
    #[inline(always)]
    fn eval<S: Simd>(
        &self,
        s: S,
        [z, skip]: [S::F32; 2],
        [center]: [S::F32; 1],
        [sum, squares]: [S::F32; 2],
    ) -> ([S::F32; 1], [S::F32; 2]) {
        let mut y = self.f.value(s, z);
        if let Some(weight) = self.skip_weight {
            y = s.mul_add(s.splat(weight), skip, y);
        }
        if !self.wants_stats {
            return ([y], [sum, squares]);
        }
        let d = s.sub(y, center);
        ([y], [s.add(sum, d), s.mul_add(d, d, squares)])
    }
}
