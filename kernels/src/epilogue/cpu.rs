//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Everything is done in registers, once a vector: an activation takes some 15 cycles for 8 values, the rest of the equations
//! some 3, and what a second pass over the same 64 KiB would cost even from the second-level cache is more than that (measured: the
//! steps one after another, each over the 16 Ki elements of a task, take 1.7 times as long).
//!
//! Sums over rows are taken in blocks of 64 rows in f32, and from block to block in f64. Moments are those of the deviations from the
//! mean of the rows before, as `batch_norm::cpu` explains; the first row is a block of its own, for it has no rows before.

use super::EpilogueParams;
use crate::activation::cpu::{Function, Visitor, visit};
use crate::batch_norm::cpu::{merge, merge_moments};
use crate::cpu::{as_f64, f64_workspace_len};
use crate::loops::{BlockSums, Columns, Operands, RowFunction, TILE, map_rows};
use crate::parallel::SharedSlice;
use crate::simd::{Kernel, Simd};
use crate::{Cpu, Write};

/// The activation that is absent.
#[derive(Clone, Copy)]
struct Identity;

impl Function for Identity {
    #[inline(always)]
    fn value<S: Simd>(self, _: S, x: S::F32) -> S::F32 {
        x
    }

    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, _: S::F32) -> S::F32 {
        s.splat(1.0)
    }
}

/// Calls the visitor with the activation.
fn visit_activation(p: &EpilogueParams, visitor: impl Visitor) {
    match p.activation {
        Some(f) => visit(f, visitor),
        None => visitor.visit(Identity),
    }
}

/// Scratch of [`forward`], in elements: two f64 a channel and task.
pub fn forward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * 2 * p.channels)
}

/// `y = f(z) + skip_weight skip` and its moments, `[mean, var]`, unless they are empty; `z` is `None` if `y` holds it.
pub fn forward(
    cpu: &Cpu,
    p: &EpilogueParams,
    z: Option<&[f32]>,
    skip: &[f32],
    y: &mut [f32],
    moments: [&mut [f32]; 2],
    workspace: &mut [f32],
) {
    visit_activation(p, Forward { cpu, p, z, skip, y, moments, workspace });
}

/// Operands of [`forward`].
struct Forward<'a> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    z: Option<&'a [f32]>,
    skip: &'a [f32],
    y: &'a mut [f32],
    moments: [&'a mut [f32]; 2],
    workspace: &'a mut [f32],
}

impl Visitor for Forward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Forward { cpu, p, z, skip, y, moments: [mean, var], workspace } = self;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let channels = p.channels;
        let part_len = if mean.is_empty() { 0 } else { 2 * channels };
        let parts = &mut as_f64(workspace)[..columns.tasks() * part_len];
        let (y, shared) = (SharedSlice::new(y), SharedSlice::new(parts));
        let value = Value { f, skip_weight: (!skip.is_empty()).then_some(p.skip_weight as f32) };
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            // SAFETY: tasks do not overlap.
            let (y, part) = unsafe { (y.slice(range.start, range.len()), shared.slice(task * part_len, part_len)) };
            let z = z.map(|z| &z[range.clone()]);
            let skip = if skip.is_empty() { skip } else { &skip[range] };
            cpu.isa.dispatch(ForwardTask { columns, value, z, skip, y, part });
        });
        if !mean.is_empty() {
            let [means, m2] = merge_moments(columns, parts);
            for c in 0..channels {
                mean[c] = means[c] as f32;
                var[c] = (m2[c] / p.rows as f64) as f32;
            }
        }
    }
}

/// One task of [`forward`]; `part` gets mean and sum of squares of the deviations, if it is not empty.
struct ForwardTask<'a, F> {
    columns: Columns,
    value: Value<F>,
    z: Option<&'a [f32]>,
    skip: &'a [f32],
    y: &'a mut [f32],
    part: &'a mut [f64],
}

impl<F: Function> Kernel for ForwardTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ForwardTask { columns, value, z, skip, y, part } = self;
        let len = y.len();
        assert!(z.is_none_or(|z| z.len() == len) && (skip.is_empty() || skip.len() == len));
        let y = y.as_mut_ptr();
        let z = z.map_or(y.cast_const(), <[f32]>::as_ptr);
        let skip = if skip.is_empty() { z } else { skip.as_ptr() };
        part.fill(0.0);
        let (mean, m2) = part.split_at_mut(part.len() / 2);
        let mut moments = Moments { channels: columns.channels, mean, m2, counts: [0; TILE], tile: [[0.0; TILE]; 2] };
        let operands = Operands { inputs: [z, skip], outputs: [y], len };
        // SAFETY: all operands have `len` elements, and an input is the output or does not overlap it.
        unsafe { map_rows(s, &value, columns, operands, &mut moments) };
    }
}

/// `y = f(z) + skip_weight skip`, and `d = y - center` and `d^2`
#[derive(Clone, Copy)]
struct Value<F> {
    f: F,
    skip_weight: Option<f32>,
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
        let d = s.sub(y, center);
        ([y], [s.add(sum, d), s.mul_add(d, d, squares)])
    }
}

/// Mean and sum of squared deviations of the channels of a task, empty if they are not wanted, and of the columns of its tile of wide
/// rows.
struct Moments<'a> {
    channels: usize,
    mean: &'a mut [f64],
    m2: &'a mut [f64],
    /// Rows of each column so far.
    counts: [usize; TILE],
    tile: [[f64; TILE]; 2],
}

impl BlockSums<1, 2> for Moments<'_> {
    const FIRST_ROW_ALONE: bool = true;

    #[inline(always)]
    fn begin(&mut self, _: usize, [center]: [&mut [f32]; 1]) {
        center.fill(0.0);
        self.counts = [0; TILE];
        self.tile = [[0.0; TILE]; 2];
    }

    #[inline(always)]
    fn add(&mut self, rows: usize, [sums, squares]: [&[f32]; 2], [center]: [&mut [f32]; 1]) {
        if self.mean.is_empty() {
            return;
        }
        let share = 1.0 / rows as f64;
        let [mean, m2] = &mut self.tile;
        // all columns of a block have as many rows before them
        let before = self.counts[0] as f64;
        let merged = rows as f64 / (before + rows as f64);
        for i in 0..sums.len() {
            let deviation = f64::from(sums[i]);
            let block_mean = f64::from(center[i]) + deviation * share;
            // of one row, this is 0 but for rounding
            let block_m2 = if rows == 1 { 0.0 } else { f64::from(squares[i]) - deviation * deviation * share };
            let difference = block_mean - mean[i];
            mean[i] += difference * merged;
            m2[i] += block_m2 + difference * difference * before * merged;
            self.counts[i] += rows;
            center[i] = mean[i] as f32;
        }
    }

    #[inline(always)]
    fn end(&mut self, left: usize, columns: usize) {
        let [mean, m2] = &self.tile;
        let mut before = 0;
        // the columns of a channel, one after another
        for column in 0..columns {
            let channel = (left + column) % self.channels;
            let count = self.counts[column];
            if count > 0 {
                let slot = channel..channel + 1;
                let values = [&mean[column..=column], &m2[column..=column]];
                merge(before as f64, [&mut self.mean[slot.clone()], &mut self.m2[slot]], count as f64, values);
            }
            if channel + 1 == self.channels {
                before += count;
            }
        }
    }
}

/// Scratch of [`backward`], in elements: one f64 a channel and task.
pub fn backward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    f64_workspace_len(Columns::new(cpu, p.rows, p.channels).tasks() * p.channels)
}

/// A gradient through a batch normalization; `dy` is `None` if `dz` holds it.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `g`
    pub dy: Option<&'a [f32]>,
    /// What was normalized.
    pub x: &'a [f32],
    /// Its mean.
    pub mean: &'a [f32],
    /// `a`, `b` and `c`
    pub coefficients: &'a [f32],
}

/// `dz = total f'` and, unless they are empty, `total` and `db`; `dy` is `None` if `dz` holds it, and empty if there is none.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cpu: &Cpu,
    p: &EpilogueParams,
    saved: &[f32],
    norm: Option<Norm<'_>>,
    dy: Option<&[f32]>,
    total: &mut [f32],
    dz: &mut [f32],
    db: (&mut [f32], Write),
    workspace: &mut [f32],
) {
    visit_activation(p, Backward { cpu, p, saved, norm, dy, total, dz, db, workspace });
}

/// Operands of [`backward`].
struct Backward<'a> {
    cpu: &'a Cpu,
    p: &'a EpilogueParams,
    saved: &'a [f32],
    norm: Option<Norm<'a>>,
    dy: Option<&'a [f32]>,
    total: &'a mut [f32],
    dz: &'a mut [f32],
    db: (&'a mut [f32], Write),
    workspace: &'a mut [f32],
}

impl Visitor for Backward<'_> {
    fn visit<F: Function>(self, f: F) {
        let Backward { cpu, p, saved, norm, dy, total, dz, db: (db, db_write), workspace } = self;
        let columns = Columns::new(cpu, p.rows, p.channels);
        let channels = p.channels;
        let parts = &mut as_f64(workspace)[..columns.tasks() * channels];
        let (dz, shared) = (SharedSlice::new(dz), SharedSlice::new(parts));
        let total = (!total.is_empty()).then(|| SharedSlice::new(total));
        let has_dy = dy.is_none_or(|dy| !dy.is_empty());
        let gradient = Gradient { f, has_norm: norm.is_some(), dy_weight: has_dy.then_some(p.dy_weight as f32) };
        cpu.pool.for_each(columns.tasks(), |task| {
            let range = columns.task(task);
            let part_of = |x: &'_ [f32]| if x.is_empty() { None } else { Some(x[range.clone()].as_ptr()) };
            // SAFETY: tasks do not overlap.
            let (dz, sums) = unsafe { (dz.slice(range.start, range.len()), shared.slice(task * channels, channels)) };
            // SAFETY: as above.
            let total = total.as_ref().map(|total| unsafe { total.slice(range.start, range.len()) }.as_mut_ptr());
            let dz = dz.as_mut_ptr();
            // an operand that is absent, or is `dz`
            let or_dz = |x: Option<*const f32>| x.unwrap_or(dz.cast_const());
            let inputs = [
                or_dz(part_of(saved)),
                or_dz(norm.and_then(|norm| norm.dy).and_then(part_of)),
                or_dz(norm.and_then(|norm| part_of(norm.x))),
                or_dz(dy.and_then(part_of)),
            ];
            let operands = Operands { inputs, outputs: [dz, total.unwrap_or(std::ptr::null_mut())], len: range.len() };
            let coefficients = norm.map_or([&[][..]; 2], |norm| [norm.mean, norm.coefficients]);
            cpu.isa.dispatch(BackwardTask { columns, gradient, operands, coefficients, sums });
        });
        for (c, db) in db.iter_mut().enumerate() {
            let sum: f64 = parts.iter().skip(c).step_by(channels).sum();
            db_write.put(db, sum as f32);
        }
    }
}

/// One task of [`backward`]; `coefficients` are `[mean, [a, b, c]]`, and `sums` gets the sums of the rows of `dz`.
struct BackwardTask<'a, F> {
    columns: Columns,
    gradient: Gradient<F>,
    operands: Operands<4, 2>,
    coefficients: [&'a [f32]; 2],
    sums: &'a mut [f64],
}

impl<F: Function> Kernel for BackwardTask<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BackwardTask { columns, gradient, operands, coefficients, sums } = self;
        sums.fill(0.0);
        let mut bias = BiasSums { channels: columns.channels, coefficients, sums, left: 0 };
        // SAFETY: all operands were cut to the same task; an input is `dz` or does not overlap an output.
        unsafe { map_rows(s, &gradient, columns, operands, &mut bias) };
    }
}

/// `total = a g + b (x - mean) + c + dy_weight dy` and `dz = total f'`, whose rows are summed
#[derive(Clone, Copy)]
struct Gradient<F> {
    f: F,
    has_norm: bool,
    dy_weight: Option<f32>,
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
    const FIRST_ROW_ALONE: bool = false;

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
        // a tile begins with channel `left`, and only a tile of whole wide rows goes round
        let mut channel = self.left;
        for sum in sums {
            self.sums[channel] += f64::from(*sum);
            channel = if channel + 1 == self.channels { 0 } else { channel + 1 };
        }
    }

    #[inline(always)]
    fn end(&mut self, _: usize, _: usize) {}
}
