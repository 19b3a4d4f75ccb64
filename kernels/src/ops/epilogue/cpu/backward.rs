//! The backward pass.

use super::activation::visit_activation;
use crate::host::{Cpu, as_f64, f64_workspace_len};
use crate::loops::{BlockSums, Columns, Operands, RowFunction, add_columns, map_rows};
use crate::ops::activation::cpu::{Function, Visitor};
use crate::ops::batch_norm::cpu::{add_up, put_sums};
use crate::ops::epilogue::params::EpilogueParams;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, Simd};

/// Scratch of [`backward`], in elements: one f64 a channel and task.
pub(crate) fn backward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * p.channels)
}

/// A gradient through a batch normalization.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// `g`; `None` if `dz` holds it.
    pub(crate) dy: Option<&'a [f32]>,
    /// What was normalized.
    pub(crate) x: &'a [f32],
    /// Its mean.
    pub(crate) mean: &'a [f32],
    /// `a`, `b` and `c`
    pub(crate) coefficients: &'a [f32],
}

/// Operands of [`backward`].
pub(crate) struct BackwardOperands<'a> {
    /// Empty if there is no activation.
    pub(crate) saved: &'a [f32],
    /// `None` if it is absent.
    pub(crate) norm: Option<Norm<'a>>,
    /// `None` if `dz` holds it; empty if it is absent.
    pub(crate) dy: Option<&'a [f32]>,
    /// Empty if it is not wanted.
    pub(crate) total: &'a mut [f32],
    pub(crate) dz: &'a mut [f32],
    /// Empty if it is not wanted.
    pub(crate) db: &'a mut [f32],
    pub(crate) db_write: Write,
}

/// `total`, `dz = total f'` and `db`.
pub(crate) fn backward(cpu: &Cpu, p: &EpilogueParams, operands: BackwardOperands<'_>, workspace: &mut [f32]) {
    visit_activation(p, Backward { cpu, p, operands, workspace });
}

/// Arguments of [`backward`].
struct Backward<'a> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    operands: BackwardOperands<'a>,
    workspace: &'a mut [f32],
}

impl Visitor for Backward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Backward { cpu, p, operands, workspace } = self;
        let BackwardOperands { saved, norm, dy, total, dz, db, db_write } = operands;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let channels = p.channels;
        let parts = &mut as_f64(workspace)[..columns.tasks() * channels];
        let (dz, shared) = (SharedSlice::new(dz), SharedSlice::new(parts));
        let total = (!total.is_empty()).then(|| SharedSlice::new(total));
        let has_dy = dy.is_none_or(|dy| !dy.is_empty());
        let gradient = Gradient::new(f, p, norm.is_some(), has_dy);
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            let part_of = |x: &'_ [f32]| if x.is_empty() { None } else { Some(x[range.clone()].as_ptr()) };
            // SAFETY: tasks do not overlap.
            let (dz, sums) = unsafe { (dz.slice(range.start, range.len()), shared.slice(task * channels, channels)) };
            // SAFETY: as above.
            let total = total.as_ref().map(|total| unsafe { total.slice(range.start, range.len()) }.as_mut_ptr());
            let dz = dz.as_mut_ptr();
            // `dz` stands for an operand that it holds. It also stands for one that is absent, whose value is not used.
            let or_dz = |x: Option<*const f32>| x.unwrap_or(dz.cast_const());
            let inputs = [
                or_dz(part_of(saved)),
                or_dz(norm.and_then(|norm| norm.dy).and_then(part_of)),
                or_dz(norm.and_then(|norm| part_of(norm.x))),
                or_dz(dy.and_then(part_of)),
            ];
            let operands = Operands { inputs, outputs: [dz, total.unwrap_or(std::ptr::null_mut())], len: range.len() };
            let coefficients = norm.map_or([&[][..]; 2], |norm| [norm.mean, norm.coefficients]);
            sums.fill(0.0);
            cpu.isa.dispatch(BackwardTask { columns, gradient, operands, coefficients, sums });
        });
        put_sums(db, add_up(parts, channels, channels), db_write);
    }
}

/// Some rows, cut from `saved`, `g`, `x` and `dy`, `dz` and the total. `coefficients` are `[mean, [a, b, c]]`. The sums
/// of the rows of `dz` are added to `sums`.
pub(super) struct BackwardTask<'a, F> {
    pub(super) columns: Columns,
    pub(super) gradient: Gradient<F>,
    pub(super) operands: Operands<4, 2>,
    pub(super) coefficients: [&'a [f32]; 2],
    pub(super) sums: &'a mut [f64],
}

impl<F: Function> Kernel for BackwardTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BackwardTask { columns, gradient, operands, coefficients, sums } = self;
        let mut bias = BiasSums { channels: columns.channels, coefficients, sums, left: 0 };
        // SAFETY: all operands were cut to the same task; an input is `dz` or does not overlap an output.
        unsafe { map_rows(s, &gradient, columns, operands, &mut bias) };
    }
}

/// `total = a g + b (x - mean) + c + dy_weight dy` and `dz = total f'`, and the sum of the rows of `dz`
#[derive(Clone, Copy)]
pub(super) struct Gradient<F> {
    f: F,
    has_norm: bool,
    dy_weight: Option<f32>,
}

impl<F> Gradient<F> {
    pub(super) fn new(f: F, p: &EpilogueParams, has_norm: bool, has_dy: bool) -> Gradient<F> {
        Gradient { f, has_norm, dy_weight: has_dy.then_some(p.dy_weight as f32) }
    }
}

impl<F: Function> RowFunction<4, 4, 2, 1> for Gradient<F> {
    #[inline(always)]
    fn eval<S: Simd>(
        &self,
        s: S,
        [saved, g, x, dy]: [S::F32; 4],
        [mean, a, b, c]: [S::F32; 4],
        [sum]: [S::F32; 1],
    ) -> ([S::F32; 2], [S::F32; 1]) {
        let mut total = if self.has_norm { s.mul_add(a, g, s.mul_add(b, s.sub(x, mean), c)) } else { s.splat(0.0) };
        if let Some(weight) = self.dy_weight {
            total = s.mul_add(s.splat(weight), dy, total);
        }
        let dz = s.mul(total, self.f.derivative(s, saved));
        ([dz, total], [s.add(sum, dz)])
    }
}

/// The coefficients of the columns, and the sums of the channels of a task.
struct BiasSums<'a> {
    channels: usize,
    coefficients: [&'a [f32]; 2],
    sums: &'a mut [f64],
    left: usize,
}

impl BlockSums<4, 1> for BiasSums<'_> {
    #[inline(always)]
    fn begin(&mut self, left: usize, out: [&mut [f32]; 4]) {
        self.left = left;
        let [mean, coefficients] = self.coefficients;
        if mean.is_empty() {
            return;
        }
        let (a, rest) = coefficients.split_at(self.channels);
        let (b, c) = rest.split_at(self.channels);
        for (out, source) in out.into_iter().zip([mean, a, b, c]) {
            for (column, out) in out.iter_mut().enumerate() {
                *out = source[(left + column) % self.channels];
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, _: usize, [sums]: [&[f32]; 1], _: [&mut [f32]; 4]) {
        add_columns(self.sums, self.left, sums);
    }

    #[inline(always)]
    fn end(&mut self, _: usize, _: usize) {}
}
