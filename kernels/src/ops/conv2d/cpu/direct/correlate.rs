//! Forward pass and input gradient.

use super::axis::{Axis, Inputs, Segment};
use super::pack::{KernelLayout, pack, pack_narrow};
use super::plan::{LINE, MAX_NARROW, PANEL_VECTORS, aligned, flattened, isa_for, strips, wanted_tasks};
use super::register_block::{RowOperands, run_narrow_row, run_row};
use super::strip::{Image, Strip};
use crate::host::Cpu;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::operands::Convolution;
use crate::ops::conv2d::cpu::tasks::share;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Elements of the input of a strip: with the packed weights of a panel it stays in a second-level cache of 256 KiB.
const STRIP_LEN: usize = 24 * 1024;

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`
pub(in super::super) fn convolve(cpu: &Cpu, convolution: Convolution<'_>, workspace: &mut [f32]) {
    Correlation::new(convolution.params, convolution.direction, cpu.isa).run(cpu, convolution, workspace);
}

/// Scratch of [`convolve`], in elements.
pub(in super::super) fn convolve_workspace_len(cpu: &Cpu, p: &Conv2dParams, direction: Direction) -> usize {
    Correlation::new(p, direction, cpu.isa).workspace_len(cpu)
}

/// How a pass is cut up. It depends on the shape and the instruction set alone.
struct Correlation {
    p: Conv2dParams,
    direction: Direction,
    isa: Isa,
    lanes: usize,
    /// `[height, width]` and channels of the pass's input and output: for the adjoint, those of `dy` and `dx`.
    in_size: [usize; 2],
    in_channels: usize,
    out_size: [usize; 2],
    out_channels: usize,
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    /// Strips of rows and of columns.
    strips: [usize; 2],
    /// Tasks that share the channels of a strip.
    channel_shares: usize,
    /// Elements of a strip's input.
    strip_len: usize,
    /// Elements of a group's packed weights.
    weight_len: usize,
}

/// A dense correlation that gives some of the output pixels.
struct Phase {
    axes: [Axis; 2],
    /// Where its packed weights begin among those of a group.
    weight: usize,
}

impl Correlation {
    fn new(p: &Conv2dParams, direction: Direction, isa: Isa) -> Correlation {
        let p = flattened(p);
        let [(in_size, in_channels), (out_size, out_channels)] =
            p.images(direction).map(|[height, width, channels]| ([height, width], channels));
        let outputs = out_channels / p.groups;
        let isa = isa_for(isa, outputs);
        let mut plan = Correlation {
            p,
            direction,
            isa,
            lanes: isa.lanes(),
            in_size,
            in_channels,
            out_size,
            out_channels,
            inputs: in_channels / p.groups,
            outputs,
            strips: [1; 2],
            channel_shares: 1,
            strip_len: 0,
            weight_len: 0,
        };
        // The first phase has the most taps; the number of outputs differs by one at most.
        let bounds = [0, 1].map(|dim| {
            let count = plan.axes(dim).map(|axis| axis.count).max().unwrap_or(0);
            Axis { count, ..plan.axis(dim, 0) }
        });
        plan.strips = strips(&bounds, STRIP_LEN, |input, _| input * plan.inputs);
        let wanted = wanted_tasks(p.flops());
        let missing = wanted.div_ceil((p.n * plan.strips[1]).max(1));
        plan.strips[0] = plan.strips[0].max(missing.min(bounds[0].count));
        plan.channel_shares = wanted.div_ceil(plan.image_strips().max(1)).min(plan.panels());
        let in_len = |dim| (0..plan.strips[dim]).map(|i| plan.inputs_of_strip(dim, i).len).max().unwrap_or(0);
        plan.strip_len = (in_len(0) * in_len(1) * plan.inputs).next_multiple_of(LINE);
        plan.weight_len = plan.phases().map(|phase| plan.packed_len(&phase, plan.outputs)).sum();
        plan
    }

    fn phase_count(&self) -> [usize; 2] {
        match self.direction {
            Direction::Forward => [1; 2],
            Direction::Adjoint => [self.p.stride_h, self.p.stride_w],
        }
    }

    fn axis(&self, dim: usize, phase: usize) -> Axis {
        let p = &self.p;
        let (taps, stride, pad) = ([p.r, p.s][dim], [p.stride_h, p.stride_w][dim], [p.pad_h, p.pad_w][dim]);
        match self.direction {
            Direction::Forward => Axis::forward(self.out_size[dim], taps, stride, pad),
            Direction::Adjoint => Axis::adjoint(self.out_size[dim], taps, stride, pad, phase),
        }
    }

    /// What all phases together read for strip `i`.
    fn inputs_of_strip(&self, dim: usize, i: usize) -> Inputs {
        self.axes(dim).map(|axis| axis.segment(self.strips[dim], i).inputs).fold(Inputs::NONE, Inputs::union)
    }

    /// The phases of one dimension.
    fn axes(&self, dim: usize) -> impl Iterator<Item = Axis> {
        (0..self.phase_count()[dim]).map(move |phase| self.axis(dim, phase))
    }

    fn phases(&self) -> impl Iterator<Item = Phase> {
        let mut weight = 0;
        self.axes(0).flat_map(|rows| self.axes(1).map(move |columns| [rows, columns])).map(move |axes| {
            let phase = Phase { axes, weight };
            weight += self.packed_len(&phase, self.outputs);
            phase
        })
    }

    /// Elements of the packed weights of the first `outputs` channels of a group.
    fn packed_len(&self, phase: &Phase, outputs: usize) -> usize {
        let [rows, columns] = phase.axes.map(|axis| axis.taps);
        match self.is_narrow() {
            true => rows * outputs * (columns * self.inputs).next_multiple_of(self.lanes),
            false => rows * columns * self.inputs * outputs.next_multiple_of(self.lanes),
        }
    }

    fn is_narrow(&self) -> bool {
        self.outputs <= MAX_NARROW
    }

    /// Panels of a group's output channels.
    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL_VECTORS * self.lanes)
    }

    fn channels_of_panel(&self, panel: usize) -> Range<usize> {
        let width = PANEL_VECTORS * self.lanes;
        panel * width..self.outputs.min((panel + 1) * width)
    }

    /// Elements of a group's bias, of whole vectors.
    fn bias_len(&self) -> usize {
        self.outputs.next_multiple_of(self.lanes)
    }

    fn image_strips(&self) -> usize {
        self.p.n * self.strips[0] * self.strips[1]
    }

    fn workspace_len(&self, cpu: &Cpu) -> usize {
        LINE + self.p.groups * (self.weight_len + self.bias_len()) + cpu.pool.threads() * self.strip_len
    }

    fn run(&self, cpu: &Cpu, convolution: Convolution<'_>, workspace: &mut [f32]) {
        let Convolution { input, w, bias, out, write, .. } = convolution;
        let groups = self.p.groups;
        let (weight, rest) = aligned(workspace).split_at_mut(groups * self.weight_len);
        let (packed_bias, rest) = rest.split_at_mut(groups * self.bias_len());
        let scratch = &mut rest[..cpu.pool.threads() * self.strip_len];
        self.pack_bias(bias, packed_bias);
        self.pack_weight(cpu, w, weight);
        let (weight, bias) = (&*weight, &*packed_bias);
        assert_eq!(out.len(), self.p.n * self.out_size[0] * self.out_size[1] * self.out_channels);
        let out = SharedSlice::new(out);
        let tasks = self.image_strips() * self.channel_shares;
        cpu.pool.for_each_with_scratch(tasks, scratch, |task, scratch| {
            let (strip, channel_share) = (task / self.channel_shares, task % self.channel_shares);
            self.isa.dispatch(StripTask { plan: self, input, weight, bias, out, write, strip, channel_share, scratch });
        });
    }

    /// Puts the bias of each group into whole vectors, zeros if there is none. The channels of a flattened image are
    /// those of all its pixels, which have the same bias.
    fn pack_bias(&self, bias: &[f32], packed: &mut [f32]) {
        packed.fill(0.0);
        let mut bias = bias.iter().cycle();
        for packed in packed.chunks_exact_mut(self.bias_len()) {
            packed[..self.outputs].iter_mut().zip(&mut bias).for_each(|(packed, bias)| *packed = *bias);
        }
    }

    fn pack_weight(&self, cpu: &Cpu, w: &[f32], packed: &mut [f32]) {
        let p = &self.p;
        let (input, output) = match self.direction {
            Direction::Forward => (p.k, 1),
            Direction::Adjoint => (1, p.k),
        };
        let tap = p.c / p.groups * p.k;
        let layout = KernelLayout { kernel_columns: p.s, tap, input, output, inputs: self.inputs };
        let shared = SharedSlice::new(packed);
        let panels = self.panels();
        cpu.pool.for_each(p.groups * panels, |task| {
            let (group, channels) = (task / panels, self.channels_of_panel(task % panels));
            for phase in self.phases() {
                let start = group * self.weight_len + phase.weight + self.packed_len(&phase, channels.start);
                let len = self.packed_len(&phase, channels.len());
                // SAFETY: every panel of every phase and group has weights of its own.
                let packed = unsafe { shared.slice(start, len) };
                let w = &w[group * (p.k / p.groups) + channels.start * output..];
                match self.is_narrow() {
                    true => pack_narrow(&phase.axes, layout, channels.len(), w, packed),
                    false => pack(&phase.axes, layout, channels.len(), w, packed),
                }
            }
        });
    }
}

/// All groups and phases of one strip of an image, for some of the panels.
struct StripTask<'a> {
    plan: &'a Correlation,
    input: Mapped<&'a [f32]>,
    weight: &'a [f32],
    bias: &'a [f32],
    out: SharedSlice<'a, f32>,
    write: Write,
    /// Counted through all images.
    strip: usize,
    channel_share: usize,
    scratch: &'a mut [f32],
}

impl Kernel for StripTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let StripTask { plan, strip, .. } = self;
        let [rows, columns] = plan.strips;
        let (n, index) = (strip / (rows * columns), [strip / columns % rows, strip % columns]);
        let image = Image::new(self.input, n, plan.in_size, plan.in_channels);
        let inputs = [0, 1].map(|dim| plan.inputs_of_strip(dim, index[dim]));
        // A row of taps must be contiguous.
        let may_stay = plan.p.groups == 1 || plan.axis(1, 0).taps <= 1;
        for group in 0..plan.p.groups {
            let channels = group * plan.inputs..(group + 1) * plan.inputs;
            let strip = (may_stay.then(|| image.strip(inputs, channels.clone())).flatten())
                .unwrap_or_else(|| image.copy_strip(s, inputs, channels, plan.inputs, self.scratch));
            for phase in plan.phases() {
                let segments = [0, 1].map(|dim| phase.axes[dim].segment(plan.strips[dim], index[dim]));
                if segments.iter().any(|segment| segment.outputs.is_empty()) {
                    continue;
                }
                let offset = |dim: usize| (segments[dim].inputs.first - inputs[dim].first) as usize;
                let strip = match segments.iter().all(|segment| segment.inputs.len > 0) {
                    true => strip.at(offset(0), offset(1)),
                    // Without taps, nothing is read.
                    false => Strip { row: 0, pixel: 0, ..strip },
                };
                for panel in share(plan.panels(), plan.channel_shares, self.channel_share) {
                    // SAFETY: the strip holds the inputs of `segments`; no other task has this strip's pixels and these
                    // channels.
                    unsafe { self.run_panel(s, n, group, &phase, &segments, strip, panel) };
                }
            }
        }
    }
}

impl StripTask<'_> {
    /// One panel of channels for all pixels of one phase.
    ///
    /// # Safety
    /// `strip` must hold the inputs of the segments, and no one else may read or write these pixels' channels.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn run_panel<S: Simd>(
        &self,
        s: S,
        n: usize,
        group: usize,
        phase: &Phase,
        [rows, columns]: &[Segment; 2],
        strip: Strip,
        panel: usize,
    ) {
        let plan = self.plan;
        let [row_axis, column_axis] = &phase.axes;
        let channels = plan.channels_of_panel(panel);
        let weight = &self.weight[group * plan.weight_len + phase.weight + plan.packed_len(phase, channels.start)..];
        let weight = &weight[..plan.packed_len(phase, channels.len())];
        let bias = &self.bias[group * plan.bias_len() + channels.start..];
        let bias = &bias[..channels.len().next_multiple_of(plan.lanes)];
        let column = column_axis.out_first + columns.outputs.start * column_axis.out_step;
        for (i, row) in rows.outputs.clone().enumerate() {
            let row = row_axis.out_first + row * row_axis.out_step;
            let pixel = (n * plan.out_size[0] + row) * plan.out_size[1] + column;
            let out = pixel * plan.out_channels + group * plan.outputs + channels.start;
            // SAFETY: an axis has no outputs outside the output, whose length `Correlation::run` checked; the caller
            // promised the rest.
            unsafe {
                let operands = RowOperands {
                    input: strip.start.wrapping_add(i * row_axis.in_step * strip.row),
                    input_row: strip.row,
                    input_pixel: column_axis.in_step * strip.pixel,
                    rows: row_axis.taps,
                    depth: column_axis.taps * plan.inputs,
                    weight: weight.as_ptr(),
                    bias: bias.as_ptr(),
                    out: self.out.as_mut_ptr().add(out),
                    out_pixel: column_axis.out_step * plan.out_channels,
                    channels: channels.len(),
                    add: self.write == Write::Add,
                };
                match plan.is_narrow() {
                    true => run_narrow_row(s, operands, columns.outputs.len()),
                    false => run_row(s, operands, columns.outputs.len()),
                }
            }
        }
    }
}
