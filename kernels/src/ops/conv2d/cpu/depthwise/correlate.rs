//! Forward pass and input gradient.

use super::blocks::{Channels, OutputOperands, run_outputs};
use super::rows::rows;
use crate::host::Cpu;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::axis::{Axis, Dimension, Inputs};
use crate::ops::conv2d::cpu::operands::Convolution;
use crate::ops::conv2d::cpu::registers::isa_for;
use crate::ops::conv2d::cpu::tasks::wanted_tasks;
use crate::ops::conv2d::cpu::unreached::set_unreached;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Elements of the input of a strip, if it is copied and has several rows of outputs.
const COPY_LEN: usize = 24 * 1024;

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`
pub(in super::super) fn convolve(cpu: &Cpu, convolution: Convolution<'_>, workspace: &mut [f32]) {
    let is_mapped = !convolution.input.is_plain();
    Plan::new(convolution.params, convolution.direction, cpu.isa, is_mapped).run(cpu, convolution, workspace);
}

/// Scratch of [`convolve`], in elements, if the input is mapped or if not.
pub(in super::super) fn convolve_workspace_len(
    cpu: &Cpu,
    p: &Conv2dParams,
    direction: Direction,
    is_mapped: bool,
) -> usize {
    cpu.pool.threads() * Plan::new(p, direction, cpu.isa, is_mapped).copy_len
}

/// How a pass is cut up. It depends on the shape and the instruction set alone.
struct Plan {
    images: usize,
    isa: Isa,
    dims: [Dimension; 2],
    channels: usize,
    /// Taps of a row of the kernel.
    kernel_columns: usize,
    /// Strips of rows that an image is cut into.
    strips: usize,
    /// Elements of the copy of a strip's input.
    copy_len: usize,
}

impl Plan {
    fn new(p: &Conv2dParams, direction: Direction, isa: Isa, is_mapped: bool) -> Plan {
        let dims = Dimension::both(p, direction);
        let (channels, kernel_columns) = (p.c, p.s);
        let mut plan =
            Plan { images: p.n, isa: isa_for(isa, channels), dims, channels, kernel_columns, strips: 1, copy_len: 0 };
        let rows = dims[0].bound();
        let missing = wanted_tasks(p.flops()).div_ceil(p.n.max(1));
        plan.strips = missing.min(rows.count).max(1);
        if is_mapped {
            let row_len = dims[1].inputs * channels;
            let len = |strips: usize| rows.in_len(rows.count.div_ceil(strips)).min(dims[0].inputs) * row_len;
            while plan.strips < rows.count && len(plan.strips) > COPY_LEN {
                plan.strips += 1;
            }
            let longest = (0..plan.strips).map(|strip| plan.inputs_of_strip(strip).len()).max();
            plan.copy_len = longest.unwrap_or(0) * row_len;
        }
        plan
    }

    /// The rows of an image that a strip reads.
    fn inputs_of_strip(&self, strip: usize) -> Range<usize> {
        let inputs = self.dims[0].axes().map(|axis| axis.segment(self.strips, strip).inputs);
        let Inputs { first, len } = inputs.fold(Inputs::NONE, Inputs::union).cut(self.dims[0].inputs);
        first as usize..first as usize + len
    }

    fn run(&self, cpu: &Cpu, convolution: Convolution<'_>, workspace: &mut [f32]) {
        let Convolution { input, w, bias, out, write, .. } = convolution;
        set_unreached(cpu, self.dims, self.channels, bias, out, write);
        let scratch = &mut workspace[..cpu.pool.threads() * self.copy_len];
        let out = SharedSlice::new(out);
        cpu.pool.for_each_with_scratch(self.images * self.strips, scratch, |task, scratch| {
            let (image, strip) = (task / self.strips, task % self.strips);
            self.isa.dispatch(StripTask { plan: self, input, w, bias, out, write, image, strip, scratch });
        });
    }
}

/// A strip of an image.
struct StripTask<'a> {
    plan: &'a Plan,
    input: Mapped<&'a [f32]>,
    w: &'a [f32],
    bias: &'a [f32],
    out: SharedSlice<'a, f32>,
    write: Write,
    image: usize,
    strip: usize,
    scratch: &'a mut [f32],
}

impl Kernel for StripTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let StripTask { plan, input, out, image, strip, .. } = self;
        let Plan { dims, channels, .. } = *plan;
        let row_len = dims[1].inputs * channels;
        let inputs = plan.inputs_of_strip(strip);
        let first_row = image * dims[0].inputs;
        let input = rows(s, input, first_row + inputs.start..first_row + inputs.end, row_len, self.scratch);
        let columns = dims[1].axes().map(|axis| {
            let whole = axis.outputs_wholly_inside(0..axis.taps, 0..axis.count, dims[1].inputs);
            (axis, whole)
        });
        for (column_axis, whole) in columns {
            let rows = dims[0].axes().map(|axis| (axis, axis.segment(plan.strips, strip).outputs));
            for (row_axis, e) in rows.flat_map(|(axis, outputs)| outputs.map(move |e| (axis, e))) {
                let taps = row_axis.taps_inside(e..e + 1, dims[0].inputs);
                let row_in = (row_axis.first_input(e) + taps.start as isize) as usize - inputs.start;
                let row_out = image * dims[0].outputs + row_axis.out_first + e * row_axis.out_step;
                let row = OutputOperands {
                    input: input[row_in * row_len..].as_ptr(),
                    input_row: row_len,
                    input_tap: channels,
                    input_pixel: 0,
                    taps: [taps.len(), 0],
                    weight: self.w[row_axis.kernel_tap(taps.start) * plan.kernel_columns * channels..].as_ptr(),
                    weight_row: row_axis.kernel_step * (plan.kernel_columns * channels) as isize,
                    weight_tap: 0,
                    bias: if self.bias.is_empty() { std::ptr::null() } else { self.bias.as_ptr() },
                    out: out.as_mut_ptr().wrapping_add(row_out * dims[1].outputs * channels),
                    out_pixel: 0,
                    add: self.write == Write::Add,
                };
                // SAFETY: the pointers are those of a row of the output, whose taps are inside the image; no other task
                // has this row.
                unsafe { plan.run_row(s, &row, &column_axis, whole.clone()) };
            }
        }
    }
}

impl Plan {
    /// The outputs of an axis in a row, of which all taps of the `whole` ones are inside.
    ///
    /// # Safety
    /// `row` must be valid for a row of outputs, and for rows of the input and of the weight that it multiplies.
    #[inline(always)]
    unsafe fn run_row<S: Simd>(&self, s: S, row: &OutputOperands, axis: &Axis, whole: Range<usize>) {
        let width = self.dims[1].inputs;
        let mut channel = 0;
        while channel < self.channels {
            let (channels, count) = Channels::first(self.channels - channel, S::LANES, 4);
            let part = |outputs: Range<usize>| {
                let taps = axis.taps_inside(outputs.clone(), width);
                let column_in = (axis.first_input(outputs.start) + taps.start as isize) as usize;
                let column_out = axis.out_first + outputs.start * axis.out_step;
                OutputOperands {
                    input: row.input.wrapping_add(column_in * self.channels + channel),
                    input_pixel: axis.in_step * self.channels,
                    taps: [row.taps[0], taps.len()],
                    weight: row.weight.wrapping_add(axis.kernel_tap(taps.start) * self.channels + channel),
                    weight_tap: axis.kernel_step * self.channels as isize,
                    bias: if row.bias.is_null() { row.bias } else { row.bias.wrapping_add(channel) },
                    out: row.out.wrapping_add(column_out * self.channels + channel),
                    out_pixel: axis.out_step * self.channels,
                    ..*row
                }
            };
            // SAFETY: an axis has no outputs outside the row, and these taps are inside the image; the caller promised
            // the rest.
            unsafe {
                for e in 0..whole.start {
                    run_outputs(s, part(e..e + 1), 1, channels);
                }
                if !whole.is_empty() {
                    run_outputs(s, part(whole.clone()), whole.len(), channels);
                }
                for e in whole.end..axis.count {
                    run_outputs(s, part(e..e + 1), 1, channels);
                }
            }
            channel += count;
        }
    }
}
