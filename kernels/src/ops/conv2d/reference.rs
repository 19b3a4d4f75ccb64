//! The equations of the [module documentation](super), loop by loop.

use super::affine::Mapped;
use super::operands;
use super::params::{Conv2dParams, Direction};
use crate::pass::Write;
use std::borrow::Cow;
use std::ops::Range;

type Convolution<'a> = operands::Convolution<'a, &'a [f64], &'a mut [f64]>;
type WeightGradient<'a> = operands::WeightGradient<'a, &'a [f64], &'a mut [f64]>;

/// The operand as its map makes it.
fn mapped(operand: Mapped<&[f64]>) -> Cow<'_, [f64]> {
    if operand.is_plain() {
        return operand.values.into();
    }
    let channels = operand.scale.iter().zip(operand.shift).cycle();
    operand.values.iter().zip(channels).map(|(x, (scale, shift))| scale * x + shift).collect()
}

/// The taps of a window that are inside an image of `len` elements: `pad <= start + tap < pad + len`.
fn taps_inside(start: usize, taps: usize, pad: usize, len: usize) -> Range<usize> {
    pad.saturating_sub(start)..(pad + len).saturating_sub(start).min(taps)
}

/// Calls `f(x index, w index, y index)` for every multiplication of the convolution, so that each pass is one line.
fn for_each_product(p: &Conv2dParams, mut f: impl FnMut(usize, usize, usize)) {
    let (cg, kg) = (p.c / p.groups, p.k / p.groups);
    for n in 0..p.n {
        for (row, col) in (0..p.p).flat_map(|row| (0..p.q).map(move |col| (row, col))) {
            let (top, left) = (row * p.stride_h, col * p.stride_w);
            let rows = taps_inside(top, p.r, p.pad_h, p.h);
            let columns = taps_inside(left, p.s, p.pad_w, p.w);
            for (r, s) in rows.flat_map(|r| columns.clone().map(move |s| (r, s))) {
                let x = ((n * p.h + top + r - p.pad_h) * p.w + left + s - p.pad_w) * p.c;
                let y = ((n * p.p + row) * p.q + col) * p.k;
                for k in 0..p.k {
                    for c in 0..cg {
                        let tap = ((r * p.s + s) * cg + c) * p.k + k;
                        f(x + k / kg * cg + c, tap, y + k);
                    }
                }
            }
        }
    }
}

/// What products are added to: sets `out` to 0, unless it is added to, and adds the bias.
fn begin(out: &mut [f64], bias: &[f64], write: Write) {
    if write == Write::Set {
        out.fill(0.0);
    }
    if !bias.is_empty() {
        for pixel in out.chunks_exact_mut(bias.len()) {
            pixel.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
        }
    }
}

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`
pub(super) fn convolve(Convolution { direction, params, input, w, bias, out, write }: Convolution<'_>) {
    let input = mapped(input);
    begin(out, bias, write);
    match direction {
        Direction::Forward => for_each_product(params, |xi, wi, yi| out[yi] += input[xi] * w[wi]),
        Direction::Adjoint => for_each_product(params, |xi, wi, yi| out[xi] += input[yi] * w[wi]),
    }
}

/// `dw (+)= x^T dy` for every tap
pub(super) fn grad_weight(WeightGradient { params, x, dy, dw, write }: WeightGradient<'_>) {
    let (x, dy) = (mapped(x), mapped(dy));
    begin(dw, &[], write);
    for_each_product(params, |xi, wi, yi| dw[wi] += x[xi] * dy[yi]);
}

/// `db[k] (+)= sum of dy[.., k]`
pub(super) fn grad_bias(dy: &[f64], db: &mut [f64], write: Write) {
    begin(db, &[], write);
    for pixel in dy.chunks_exact(db.len()) {
        db.iter_mut().zip(pixel).for_each(|(db, dy)| *db += dy);
    }
}
