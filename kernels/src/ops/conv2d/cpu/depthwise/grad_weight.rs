//! Weight gradient.
//!
//! The strips of all images are divided into a fixed number of shares, each with sums of its own, which are added up in
//! their order: the result does not depend on the threads.

use super::blocks::{Channels, TapOperands, max_taps, run_taps};
use super::rows::rows;
use crate::host::Cpu;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::axis::{Axis, Dimension, Segment};
use crate::ops::conv2d::cpu::operands::WeightGradient;
use crate::ops::conv2d::cpu::registers::{balanced, isa_for};
use crate::ops::conv2d::cpu::tasks::{add_up, share, wanted_tasks};
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Output pixels of a strip: so few that two vectors of all of them, and of the inputs that they meet, stay in the
/// first-level cache for all taps.
const STRIP_PIXELS: usize = 128;

/// Elements of the sums of all shares.
const MAX_SUMS_LEN: usize = 4 * 1024 * 1024;

/// `dw (+)= x^T dy` for every tap
pub(in super::super) fn grad_weight(cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
    let is_mapped = !(gradient.x.is_plain() && gradient.dy.is_plain());
    Plan::new(gradient.params, cpu.isa, is_mapped).run(cpu, gradient, workspace);
}

/// Scratch of [`grad_weight`], in elements, if an operand is mapped or if not.
pub(in super::super) fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams, is_mapped: bool) -> usize {
    Plan::new(p, cpu.isa, is_mapped).workspace_len(cpu)
}

/// How the pass is cut up. It depends on the shape and the instruction set alone.
struct Plan {
    p: Conv2dParams,
    isa: Isa,
    axes: [Axis; 2],
    /// Strips of rows that an image is cut into.
    strips: usize,
    /// Shares of the strips of all images.
    shares: usize,
    /// Elements of a strip's copy of an operand.
    copy_len: usize,
}

impl Plan {
    fn new(p: &Conv2dParams, isa: Isa, is_mapped: bool) -> Plan {
        let axes = Dimension::both(p, Direction::Forward).map(Dimension::bound);
        let strip_rows = (STRIP_PIXELS / axes[1].count.max(1)).max(1);
        let strips = axes[0].count.div_ceil(strip_rows);
        let mut plan = Plan { p: *p, isa: isa_for(isa, p.c), axes, strips, shares: 1, copy_len: 0 };
        plan.shares = wanted_tasks(p.flops()).min(plan.image_strips()).min(MAX_SUMS_LEN / p.weight_len()).max(1);
        if is_mapped {
            let x_rows = axes[0].in_len(strip_rows).min(p.h);
            plan.copy_len = (x_rows * p.w).max(strip_rows.min(p.p) * p.q) * p.c;
        }
        plan
    }

    fn image_strips(&self) -> usize {
        if self.axes[1].count == 0 { 0 } else { self.p.n * self.strips }
    }

    fn workspace_len(&self, cpu: &Cpu) -> usize {
        self.shares * self.p.weight_len() + cpu.pool.threads() * self.copy_len
    }

    fn run(&self, cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
        let WeightGradient { x, dy, dw, write, .. } = gradient;
        let len = self.p.weight_len();
        let (sums, scratch) = workspace[..self.workspace_len(cpu)].split_at_mut(self.shares * len);
        let shared = SharedSlice::new(sums);
        cpu.pool.for_each_with_scratch(self.shares, scratch, |share, scratch| {
            // SAFETY: every task has sums of its own.
            let sums = unsafe { shared.slice(share * len, len) };
            self.isa.dispatch(ShareTask { plan: self, x, dy, sums, share, scratch });
        });
        add_up(&cpu.pool, sums, dw, write);
    }
}

/// A share of the strips.
struct ShareTask<'a> {
    plan: &'a Plan,
    x: Mapped<&'a [f32]>,
    dy: Mapped<&'a [f32]>,
    sums: &'a mut [f32],
    share: usize,
    scratch: &'a mut [f32],
}

impl Kernel for ShareTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ShareTask { plan, x, dy, sums, share: index, scratch } = self;
        let (p, [row_axis, _]) = (&plan.p, &plan.axes);
        sums.fill(0.0);
        for strip in share(plan.image_strips(), plan.shares, index) {
            let (image, strip) = (strip / plan.strips, strip % plan.strips);
            let Segment { outputs, inputs } = row_axis.segment(plan.strips, strip);
            let inputs = inputs.cut(p.h);
            // At most one of the two is mapped, so they can have the same scratch.
            let first_x = image * p.h + inputs.first as usize;
            let (x_scratch, dy_scratch): (&mut [f32], &mut [f32]) =
                if x.is_plain() { (&mut [], &mut *scratch) } else { (&mut *scratch, &mut []) };
            let x = rows(s, x, first_x..first_x + inputs.len, p.w * p.c, x_scratch);
            let first_dy = image * p.p + row_axis.out_first + outputs.start;
            let dy = rows(s, dy, first_dy..first_dy + outputs.len(), p.q * p.c, dy_scratch);
            for r in 0..p.r {
                let inside = row_axis.outputs_inside(r, outputs.clone(), p.h);
                if inside.is_empty() {
                    continue;
                }
                let row_in = (row_axis.first_input(inside.start) + r as isize - inputs.first) as usize;
                let operands = TapOperands {
                    input: x[row_in * p.w * p.c..].as_ptr(),
                    input_row: row_axis.in_step * p.w * p.c,
                    input_pixel: plan.axes[1].in_step * p.c,
                    input_tap: p.c,
                    dy: dy[(inside.start - outputs.start) * p.q * p.c..].as_ptr(),
                    dy_row: p.q * p.c,
                    dy_pixel: p.c,
                    outputs: [inside.len(), 0],
                    sums: sums[r * p.s * p.c..].as_mut_ptr(),
                    sums_tap: p.c,
                };
                // SAFETY: the pointers are those of rows of the operands that exist, and of a row of taps.
                unsafe { plan.run_taps(s, &operands) };
            }
        }
    }
}

impl Plan {
    /// A row of taps, for rows of outputs.
    ///
    /// # Safety
    /// `rows` must be valid for rows of the outputs, of the inputs that they meet, and of the sums.
    #[inline(always)]
    unsafe fn run_taps<S: Simd>(&self, s: S, rows: &TapOperands) {
        let (p, axis) = (&self.p, &self.axes[1]);
        let mut channel = 0;
        while channel < p.c {
            let (channels, count) = Channels::first(p.c - channel, S::LANES, 2);
            let part = |tap: usize, outputs: Range<usize>| {
                let column_in = (axis.first_input(outputs.start) + tap as isize) as usize;
                TapOperands {
                    input: rows.input.wrapping_add(column_in * p.c + channel),
                    dy: rows.dy.wrapping_add((axis.out_first + outputs.start) * p.c + channel),
                    outputs: [rows.outputs[0], outputs.len()],
                    sums: rows.sums.wrapping_add(tap * p.c + channel),
                    ..*rows
                }
            };
            let mut first = 0;
            for (size, blocks) in balanced(p.s, max_taps::<S>(channels)) {
                for _ in 0..blocks {
                    let taps = first..first + size;
                    first += size;
                    // The outputs that meet all of these taps, and then those that meet some of them only.
                    let whole = axis.outputs_wholly_inside(taps.clone(), 0..axis.count, p.w);
                    // SAFETY: an axis has no outputs outside the row, and these taps are inside the image; the caller
                    // promised the rest.
                    unsafe {
                        if !whole.is_empty() {
                            run_taps(s, part(taps.start, whole.clone()), size, channels);
                        }
                        for tap in taps {
                            let inside = axis.outputs_inside(tap, 0..axis.count, p.w);
                            let left = inside.start..inside.end.min(whole.start);
                            let right = inside.start.max(whole.end).max(left.end)..inside.end;
                            for outputs in [left, right] {
                                if !outputs.is_empty() {
                                    run_taps(s, part(tap, outputs), 1, channels);
                                }
                            }
                        }
                    }
                }
            }
            channel += count;
        }
    }
}
