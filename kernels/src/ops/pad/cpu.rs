//! The [module documentation](super)'s equations as copies of rows.

use super::params::PadParams;
use crate::host::Cpu;
use crate::loops::for_rows;
use crate::pass::Write;

/// `y = x` inside, 0 outside
pub(super) fn forward(cpu: &Cpu, p: &PadParams, x: &[f32], y: &mut [f32]) {
    let (short, long) = (p.w0 * p.c, p.w1 * p.c);
    for_rows(cpu, y, long, long, |rows, y| {
        for (row, y) in rows.zip(y.chunks_exact_mut(long)) {
            let (n, h) = (row / p.h1, row % p.h1);
            let (inside, outside) = y.split_at_mut(if h < p.h0 { short } else { 0 });
            if !inside.is_empty() {
                inside.copy_from_slice(&x[(n * p.h0 + h) * short..][..short]);
            }
            outside.fill(0.0);
        }
    });
}

/// `dx (+)= dy` inside
pub(super) fn backward(cpu: &Cpu, p: &PadParams, dy: &[f32], dx: &mut [f32], write: Write) {
    let (short, long) = (p.w0 * p.c, p.w1 * p.c);
    for_rows(cpu, dx, short, short, |rows, dx| {
        for (row, dx) in rows.zip(dx.chunks_exact_mut(short)) {
            let (n, h) = (row / p.h0, row % p.h0);
            let dy = &dy[(n * p.h1 + h) * long..][..short];
            match write {
                Write::Set => dx.copy_from_slice(dy),
                Write::Add => dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy),
            }
        }
    });
}
