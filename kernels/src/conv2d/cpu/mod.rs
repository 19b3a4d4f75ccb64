//! SIMD implementation of the [module documentation](super)'s equations.
//!
//! Three passes, and for each of them more than one algorithm ([`Algo`]); [`Algo::choose`] is the table that picks one.
//! The functions here check lengths once and hand over to the algorithm.

mod algo;
mod direct;
mod grad_bias;
mod im2col;
mod winograd;

pub use algo::{Algo, Pass, UnknownAlgo};

use super::{Conv2dParams, Mapped};
use crate::loops::{Channelwise, Columns, map_channels};
use crate::parallel::{Pool, SharedSlice};
use crate::simd::Simd;
use crate::{Cpu, Write};
use std::ops::Range;
use winograd::Tile;

/// `y (+)= conv(x, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn forward(
    cpu: &Cpu,
    p: &Conv2dParams,
    x: Mapped<'_, f32>,
    w: &[f32],
    bias: &[f32],
    y: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    p.check(x.values, w, y);
    assert!(bias.is_empty() || bias.len() == p.k, "bias of {} for {p:?}", bias.len());
    x.check(p.c);
    let workspace = &mut workspace[..forward_workspace_len(cpu, p, !x.is_plain())];
    match cpu.conv2d_algo(p, Pass::Forward) {
        Algo::Im2col => {
            let (x, workspace) = copy_mapped(cpu, p.c, x, workspace);
            im2col::forward(cpu, p, x, w, bias, y, write, workspace);
        }
        Algo::Direct => direct::forward(cpu, p, x, w, bias, y, write, workspace),
        Algo::Winograd2x3 => winograd::forward(cpu, Tile::F2x3, p, x, w, bias, y, write, workspace),
        Algo::Winograd4x3 => winograd::forward(cpu, Tile::F4x3, p, x, w, bias, y, write, workspace),
        Algo::Winograd4x5 => winograd::forward(cpu, Tile::F4x5, p, x, w, bias, y, write, workspace),
    }
}

/// Scratch of [`forward`], in elements, if an operand is mapped or if not.
pub fn forward_workspace_len(cpu: &Cpu, p: &Conv2dParams, mapped: bool) -> usize {
    match cpu.conv2d_algo(p, Pass::Forward) {
        Algo::Im2col => im2col::forward_workspace_len(cpu, p) + if mapped { p.input_len() } else { 0 },
        Algo::Direct => direct::forward_workspace_len(cpu, p),
        Algo::Winograd2x3 => winograd::forward_workspace_len(cpu, Tile::F2x3, p),
        Algo::Winograd4x3 => winograd::forward_workspace_len(cpu, Tile::F4x3, p),
        Algo::Winograd4x5 => winograd::forward_workspace_len(cpu, Tile::F4x5, p),
    }
}

/// `dx (+)= conv^T(dy, w) + bias`
#[allow(clippy::too_many_arguments)]
pub fn grad_input(
    cpu: &Cpu,
    p: &Conv2dParams,
    dy: Mapped<'_, f32>,
    w: &[f32],
    bias: &[f32],
    dx: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    p.check(dx, w, dy.values);
    assert!(bias.is_empty() || bias.len() == p.c, "bias of {} for the adjoint of {p:?}", bias.len());
    dy.check(p.k);
    let workspace = &mut workspace[..grad_input_workspace_len(cpu, p, !dy.is_plain())];
    match cpu.conv2d_algo(p, Pass::GradInput) {
        Algo::Im2col => {
            let (dy, workspace) = copy_mapped(cpu, p.k, dy, workspace);
            im2col::grad_input(cpu, p, dy, w, bias, dx, write, workspace);
        }
        Algo::Direct => direct::grad_input(cpu, p, dy, w, bias, dx, write, workspace),
        Algo::Winograd2x3 => winograd::grad_input(cpu, Tile::F2x3, p, dy, w, bias, dx, write, workspace),
        Algo::Winograd4x3 => winograd::grad_input(cpu, Tile::F4x3, p, dy, w, bias, dx, write, workspace),
        Algo::Winograd4x5 => winograd::grad_input(cpu, Tile::F4x5, p, dy, w, bias, dx, write, workspace),
    }
}

/// Scratch of [`grad_input`], in elements, if an operand is mapped or if not.
pub fn grad_input_workspace_len(cpu: &Cpu, p: &Conv2dParams, mapped: bool) -> usize {
    match cpu.conv2d_algo(p, Pass::GradInput) {
        Algo::Im2col => im2col::grad_input_workspace_len(cpu, p) + if mapped { p.output_len() } else { 0 },
        Algo::Direct => direct::grad_input_workspace_len(cpu, p),
        Algo::Winograd2x3 => winograd::grad_input_workspace_len(cpu, Tile::F2x3, p),
        Algo::Winograd4x3 => winograd::grad_input_workspace_len(cpu, Tile::F4x3, p),
        Algo::Winograd4x5 => winograd::grad_input_workspace_len(cpu, Tile::F4x5, p),
    }
}

/// `dw (+)= x^T dy` for every tap
pub fn grad_weight(
    cpu: &Cpu,
    p: &Conv2dParams,
    x: Mapped<'_, f32>,
    dy: Mapped<'_, f32>,
    dw: &mut [f32],
    write: Write,
    workspace: &mut [f32],
) {
    p.check(x.values, dw, dy.values);
    assert!(x.is_plain() || dy.is_plain(), "at most one operand is mapped");
    x.check(p.c);
    dy.check(p.k);
    let workspace = &mut workspace[..grad_weight_workspace_len(cpu, p, !(x.is_plain() && dy.is_plain()))];
    match cpu.conv2d_algo(p, Pass::GradWeight) {
        Algo::Im2col => {
            let (x, workspace) = copy_mapped(cpu, p.c, x, workspace);
            let (dy, workspace) = copy_mapped(cpu, p.k, dy, workspace);
            // The copy's part of the workspace is as long as the longer operand.
            let workspace = &mut workspace[..im2col::grad_weight_workspace_len(cpu, p)];
            im2col::grad_weight(cpu, p, x, dy, dw, write, workspace);
        }
        Algo::Direct => direct::grad_weight(cpu, p, x, dy, dw, write, workspace),
        Algo::Winograd2x3 => winograd::grad_weight(cpu, Tile::F2x3, p, x, dy, dw, write, workspace),
        Algo::Winograd4x3 => winograd::grad_weight(cpu, Tile::F4x3, p, x, dy, dw, write, workspace),
        Algo::Winograd4x5 => winograd::grad_weight(cpu, Tile::F4x5, p, x, dy, dw, write, workspace),
    }
}

/// Scratch of [`grad_weight`], in elements, if an operand is mapped or if not.
pub fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams, mapped: bool) -> usize {
    match cpu.conv2d_algo(p, Pass::GradWeight) {
        Algo::Im2col => {
            im2col::grad_weight_workspace_len(cpu, p) + if mapped { p.input_len().max(p.output_len()) } else { 0 }
        }
        Algo::Direct => direct::grad_weight_workspace_len(cpu, p),
        Algo::Winograd2x3 => winograd::grad_weight_workspace_len(cpu, Tile::F2x3, p),
        Algo::Winograd4x3 => winograd::grad_weight_workspace_len(cpu, Tile::F4x3, p),
        Algo::Winograd4x5 => winograd::grad_weight_workspace_len(cpu, Tile::F4x5, p),
    }
}

/// `db[k] (+)= sum of dy[.., k]`
pub fn grad_bias(cpu: &Cpu, dy: &[f32], db: &mut [f32], write: Write, workspace: &mut [f32]) {
    assert!(dy.len().is_multiple_of(db.len()), "{} values are not rows of {} channels", dy.len(), db.len());
    grad_bias::grad_bias(cpu, dy, db, write, workspace);
}

/// Scratch of [`grad_bias()`], in elements.
pub fn grad_bias_workspace_len(_cpu: &Cpu, rows: usize, channels: usize) -> usize {
    grad_bias::workspace_len(rows, channels)
}

/// For an algorithm that has no map in its load: what an operand is mapped to, at the beginning of the workspace, and the rest of the workspace; the operand itself if it is
/// not mapped.
fn copy_mapped<'a>(
    cpu: &Cpu,
    channels: usize,
    operand: Mapped<'a, f32>,
    workspace: &'a mut [f32],
) -> (&'a [f32], &'a mut [f32]) {
    if operand.is_plain() || operand.values.is_empty() {
        return (operand.values, workspace);
    }
    let (copy, rest) = workspace.split_at_mut(operand.values.len());
    let columns = Columns::new(cpu, copy.len() / channels, channels);
    map_channels(cpu, columns, &operand, [Some(operand.values)], copy, Write::Set);
    (copy, rest)
}

impl Channelwise<1, 2> for Mapped<'_, f32> {
    #[inline(always)]
    fn coefficients(&self, channels: Range<usize>, [scale, shift]: [&mut [f32]; 2]) {
        scale.copy_from_slice(&self.scale[channels.clone()]);
        shift.copy_from_slice(&self.shift[channels]);
    }

    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, [x]: [S::F32; 1], [scale, shift]: [S::F32; 2]) -> S::F32 {
        s.mul_add(x, scale, shift)
    }
}

/// Part `i` of `0..len` cut into `parts` nearly equal parts.
fn part(len: usize, parts: usize, i: usize) -> std::ops::Range<usize> {
    i * len / parts..(i + 1) * len / parts
}

/// `out (+)= sum of the parts`, added in their order. `parts` holds arrays of `out`'s length one after the other.
fn sum_parts(pool: &Pool, parts: &[f32], out: &mut [f32], write: Write) {
    const CHUNK: usize = 4096;
    let len = out.len();
    assert!(parts.len().is_multiple_of(len));
    let shared = SharedSlice::new(out);
    pool.for_each(len.div_ceil(CHUNK), |i| {
        let start = i * CHUNK;
        // SAFETY: every task has its own chunk.
        let out = unsafe { shared.slice(start, CHUNK.min(len - start)) };
        if write == Write::Set {
            out.fill(0.0);
        }
        for part in parts.chunks_exact(len) {
            out.iter_mut().zip(&part[start..]).for_each(|(out, x)| *out += x);
        }
    });
}
