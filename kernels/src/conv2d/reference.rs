//! The equations of the [module documentation](super), loop by loop.

use super::{Conv2dParams, Mapped};
use crate::Write;
use std::borrow::Cow;

/// The operand as its map makes it.
fn mapped<'a>(operand: Mapped<'a, f64>) -> Cow<'a, [f64]> {
    if operand.is_plain() {
        return operand.values.into();
    }
    let channels = operand.scale.iter().zip(operand.shift).cycle();
    operand.values.iter().zip(channels).map(|(x, (scale, shift))| scale * x + shift).collect()
}

/// Calls `f(x index, w index, y index)` for every multiplication of the convolution, so that each pass is one line.
fn for_each_product(p: &Conv2dParams, mut f: impl FnMut(usize, usize, usize)) {
    let (cg, kg) = (p.c / p.groups, p.k / p.groups);
    for n in 0..p.n {
        for (row, col) in (0..p.p).flat_map(|row| (0..p.q).map(move |col| (row, col))) {
            for (r, s) in (0..p.r).flat_map(|r| (0..p.s).map(move |s| (r, s))) {
                let (h, w) = (row * p.stride_h + r, col * p.stride_w + s);
                if h < p.pad_h || w < p.pad_w || h - p.pad_h >= p.h || w - p.pad_w >= p.w {
                    continue;
                }
                let x = ((n * p.h + h - p.pad_h) * p.w + w - p.pad_w) * p.c;
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

/// Sets `out` to its bias (or 0) before products are added, unless it is accumulated into; then adds the bias.
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

/// `y (+)= conv(x, w) + bias`
pub fn forward(p: &Conv2dParams, x: Mapped<'_, f64>, w: &[f64], bias: &[f64], y: &mut [f64], write: Write) {
    let x = mapped(x);
    begin(y, bias, write);
    for_each_product(p, |xi, wi, yi| y[yi] += x[xi] * w[wi]);
}

/// `dx (+)= conv^T(dy, w) + bias`
pub fn grad_input(p: &Conv2dParams, dy: Mapped<'_, f64>, w: &[f64], bias: &[f64], dx: &mut [f64], write: Write) {
    let dy = mapped(dy);
    begin(dx, bias, write);
    for_each_product(p, |xi, wi, yi| dx[xi] += dy[yi] * w[wi]);
}

/// `dw (+)= x^T dy` for every tap
pub fn grad_weight(p: &Conv2dParams, x: Mapped<'_, f64>, dy: Mapped<'_, f64>, dw: &mut [f64], write: Write) {
    let (x, dy) = (mapped(x), mapped(dy));
    begin(dw, &[], write);
    for_each_product(p, |xi, wi, yi| dw[wi] += x[xi] * dy[yi]);
}

/// `db[k] (+)= sum of dy[.., k]`
pub fn grad_bias(dy: &[f64], db: &mut [f64], write: Write) {
    begin(db, &[], write);
    for pixel in dy.chunks_exact(db.len()) {
        db.iter_mut().zip(pixel).for_each(|(db, dy)| *db += dy);
    }
}
