//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! One task after another, a task runs the steps of the equations with the loops that they have as passes of their own, but its
//! operands, 64 KiB each, stay in the second-level cache from step to step: memory is read and written once. (Steps in registers
//! instead would save little: most of the time is that of the activation.)

use super::EpilogueParams;
use crate::activation;
use crate::add::cpu::{Product, WeightedSum};
use crate::batch_norm::cpu::{merge_moments, task_moments};
use crate::cpu::{as_f64, f64_workspace_len};
use crate::loops::{Channelwise, Columns, map_channels_task, map_task};
use crate::parallel::SharedSlice;
use crate::simd::Simd;
use crate::{Cpu, Write};
use std::ops::Range;

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
    [mean, var]: [&mut [f32]; 2],
    workspace: &mut [f32],
) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let channels = p.channels;
    let moments = &mut as_f64(workspace)[..columns.tasks() * 2 * channels];
    let (y, parts) = (SharedSlice::new(y), SharedSlice::new(moments));
    cpu.pool.for_each(columns.tasks(), |task| {
        let range = columns.task(task);
        // SAFETY: tasks do not overlap.
        let y = unsafe { y.slice(range.start, range.len()) };
        let z = z.map(|z| &z[range.clone()]);
        match (p.activation, z) {
            (Some(f), z) => activation::cpu::forward_task(cpu, f, z, y),
            (None, Some(z)) => y.copy_from_slice(z),
            (None, None) => {}
        }
        if !skip.is_empty() {
            map_task(cpu, WeightedSum(p.skip_weight as f32), [None, Some(&skip[range])], y, Write::Set);
        }
        if !mean.is_empty() {
            // SAFETY: every task has its own part.
            let part = unsafe { parts.slice(task * 2 * channels, 2 * channels) };
            task_moments(cpu, columns, y, part);
        }
    });
    if !mean.is_empty() {
        let [means, m2] = merge_moments(columns, moments);
        for c in 0..channels {
            mean[c] = means[c] as f32;
            var[c] = (m2[c] / p.rows as f64) as f32;
        }
    }
}

/// Scratch of [`backward`], in elements.
pub fn backward_workspace_len(cpu: &Cpu, p: &EpilogueParams) -> usize {
    Columns::new(cpu, p.rows, p.channels).tasks() * bias_part_len(p)
}

/// Scratch of the sums of one task.
fn bias_part_len(p: &EpilogueParams) -> usize {
    crate::conv2d::cpu::column_sums_len(p.channels)
}

/// A gradient through a batch normalization; `dy` is `None` if the output holds it.
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
    (db, db_write): (&mut [f32], Write),
    workspace: &mut [f32],
) {
    let columns = Columns::new(cpu, p.rows, p.channels);
    let (part_len, wants_total) = (bias_part_len(p), !total.is_empty());
    let workspace = &mut workspace[..columns.tasks() * part_len];
    let (dz, total, parts) = (SharedSlice::new(dz), SharedSlice::new(total), SharedSlice::new(workspace));
    cpu.pool.for_each(columns.tasks(), |task| {
        let range = columns.task(task);
        // SAFETY: tasks do not overlap.
        let dz = unsafe { dz.slice(range.start, range.len()) };
        let dy = dy.map(|dy| if dy.is_empty() { dy } else { &dy[range.clone()] });
        // The total goes where it is wanted, or else to `dz`; an operand that `dz` holds is then read from there.
        if wants_total {
            // SAFETY: as above.
            let total = unsafe { total.slice(range.start, range.len()) };
            write_total(cpu, p, columns, norm.as_ref(), dy, Some(&*dz), range.clone(), total);
            if let Some(f) = p.activation {
                activation::cpu::backward_task(cpu, f, &saved[range], Some(total), dz);
            }
        } else {
            write_total(cpu, p, columns, norm.as_ref(), dy, None, range.clone(), dz);
            if let Some(f) = p.activation {
                activation::cpu::backward_task(cpu, f, &saved[range], None, dz);
            }
        }
        if !db.is_empty() {
            // SAFETY: every task has its own part.
            crate::conv2d::cpu::column_sums(cpu, dz, p.channels, unsafe { parts.slice(task * part_len, part_len) });
        }
    });
    for (c, db) in db.iter_mut().enumerate() {
        let sum: f64 = workspace.chunks_exact(part_len).map(|part| f64::from(part[c])).sum();
        db_write.put(db, sum as f32);
    }
}

/// Writes the total of one task to `out`. What is `None` of `norm.dy` or `dy` is `dz`, or `out` itself if that is `None`.
#[allow(clippy::too_many_arguments)]
fn write_total(
    cpu: &Cpu,
    p: &EpilogueParams,
    columns: Columns,
    norm: Option<&Norm<'_>>,
    dy: Option<&[f32]>,
    dz: Option<&[f32]>,
    range: Range<usize>,
    out: &mut [f32],
) {
    let weight = p.dy_weight as f32;
    let Some(norm) = norm else {
        return map_task(cpu, Product(weight), [dy.or(dz)], out, Write::Set);
    };
    let g = norm.dy.map(|g| &g[range.clone()]).or(dz);
    let f = InputGradient { mean: norm.mean, coefficients: norm.coefficients };
    map_channels_task(cpu, columns, &f, [g, Some(&norm.x[range])], out, Write::Set);
    if let Some(dy) = dy.filter(|dy| !dy.is_empty()) {
        map_task(cpu, WeightedSum(weight), [None, Some(dy)], out, Write::Set);
    }
}

/// `a g + b (x - mean) + c`
struct InputGradient<'a> {
    mean: &'a [f32],
    coefficients: &'a [f32],
}

impl Channelwise<2, 4> for InputGradient<'_> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, [a, b, c, mean]: [&mut [f32]; 4]) {
        for (i, out) in [a, b, c].into_iter().enumerate() {
            out.copy_from_slice(&self.coefficients[i * self.mean.len()..][channels.clone()]);
        }
        mean.copy_from_slice(&self.mean[channels]);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [g, x]: [S::F32; 2], [a, b, c, mean]: [S::F32; 4]) -> S::F32 {
        s.mul_add(a, g, s.mul_add(b, s.sub(x, mean), c))
    }
}
