//! Forward pass and input gradient.

use super::pack::{KernelLayout, pack, pack_narrow};
use super::plan::{LINE, MAX_NARROW, PANEL_VECTORS, aligned, strips};
use super::register_block::{RowOperands, run_narrow_row, run_row};
use super::strip::{Image, Strip};
use crate::host::Cpu;
use crate::loops::TASK_LEN;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::axis::{Axis, Dimension, Inputs, Segment};
use crate::ops::conv2d::cpu::operands::Convolution;
use crate::ops::conv2d::cpu::registers::isa_for;
use crate::ops::conv2d::cpu::tasks::{share, wanted_tasks};
use crate::ops::conv2d::cpu::unreached::set_unreached;
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Elements of the input of a strip: with the packed weights of a panel it stays in a second-level cache of 256 KiB.
const STRIP_LEN: usize = 24 * 1024;

/// Output pixels of a batch for which packing the weight takes longer than the products with it.
const FEW_PIXELS: usize = 32;

/// Output pixels of a row that multiply the same columns of taps, if most of the taps are outside the image.
const SPARSE_PIXELS: usize = 8;

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
    /// Rows and columns of the pass's input and output, and their channels: for the adjoint, those of `dy` and `dx`.
    dims: [Dimension; 2],
    in_channels: usize,
    out_channels: usize,
    /// Whether the kernel is so wide that most of its taps are outside the image.
    is_sparse: bool,
    /// Whether the weight is read where it is.
    is_unpacked: bool,
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
        let p = p.flattened();
        let [in_channels, out_channels] = p.images(direction).map(|[.., channels]| channels);
        let dims = Dimension::both(&p, direction);
        let bounds = dims.map(Dimension::bound);
        let outputs = out_channels / p.groups;
        let isa = isa_for(isa, outputs);
        let mut plan = Correlation {
            p,
            direction,
            isa,
            lanes: isa.lanes(),
            dims,
            in_channels,
            out_channels,
            is_sparse: bounds[1].taps > dims[1].inputs,
            is_unpacked: false,
            inputs: in_channels / p.groups,
            outputs,
            strips: [1; 2],
            channel_shares: 1,
            strip_len: 0,
            weight_len: 0,
        };
        let pixels = p.n * dims[0].outputs * dims[1].outputs;
        plan.is_unpacked = direction == Direction::Forward
            && pixels <= FEW_PIXELS
            && !plan.is_narrow()
            && outputs.is_multiple_of(plan.lanes);
        plan.strips = strips(&bounds, dims[0].inputs, STRIP_LEN, |input, _| input * plan.inputs);
        let wanted = wanted_tasks(p.flops());
        let missing = wanted.div_ceil((p.n * plan.strips[1]).max(1));
        plan.strips[0] = plan.strips[0].max(missing.min(bounds[0].count));
        plan.channel_shares = wanted.div_ceil(plan.image_strips().max(1)).min(plan.panels());
        let in_len = |dim| (0..plan.strips[dim]).map(|i| plan.inputs_of_strip(dim, i).len).max().unwrap_or(0);
        plan.strip_len = (in_len(0) * in_len(1) * plan.inputs).next_multiple_of(LINE);
        plan.weight_len = plan.phases().map(|phase| plan.packed_len(&phase, plan.outputs)).sum();
        plan
    }

    /// What all phases together read for strip `i`. Rows outside the image are not read, but zeros of its columns are.
    fn inputs_of_strip(&self, dim: usize, i: usize) -> Inputs {
        let inputs = self.dims[dim].axes().map(|axis| axis.segment(self.strips[dim], i).inputs);
        let inputs = inputs.fold(Inputs::NONE, Inputs::union);
        if dim == 0 { inputs.cut(self.dims[dim].inputs) } else { inputs }
    }

    fn phases(&self) -> impl Iterator<Item = Phase> {
        let mut weight = 0;
        let [rows, columns] = self.dims.map(Dimension::axes);
        rows.flat_map(move |rows| columns.clone().map(move |columns| [rows, columns])).map(move |axes| {
            let phase = Phase { axes, weight };
            weight += self.packed_len(&phase, self.outputs);
            phase
        })
    }

    /// Elements of the packed weights of the first `outputs` channels of a group.
    fn packed_len(&self, phase: &Phase, outputs: usize) -> usize {
        if self.is_unpacked { 0 } else { phase.axes[0].taps * self.packed_row_len(phase, outputs) }
    }

    /// Elements of those of a row of taps.
    fn packed_row_len(&self, phase: &Phase, outputs: usize) -> usize {
        let depth = phase.axes[1].taps * self.inputs;
        match self.is_narrow() {
            true => outputs * depth.next_multiple_of(self.lanes),
            false => depth * outputs.next_multiple_of(self.lanes),
        }
    }

    /// Whether the lanes are the reduction. Of a sparse kernel, only other lanes can leave out columns of taps.
    fn is_narrow(&self) -> bool {
        self.outputs <= MAX_NARROW && !self.is_sparse
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
        if !self.is_unpacked {
            self.pack_weight(cpu, w, weight);
        }
        let weight = if self.is_unpacked { w } else { weight };
        let (plain_bias, bias) = (bias, &*packed_bias);
        assert_eq!(out.len(), self.p.n * self.dims[0].outputs * self.dims[1].outputs * self.out_channels);
        set_unreached(cpu, self.dims, self.out_channels, plain_bias, out, write);
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
        let panels = p.groups * self.panels();
        // It takes longer to wake a thread than to pack as much.
        let tasks = (packed.len() / (4 * TASK_LEN)).clamp(1, panels);
        let shared = SharedSlice::new(packed);
        cpu.pool.for_each(tasks, |task| {
            for (panel, phase) in share(panels, tasks, task).flat_map(|i| self.phases().map(move |phase| (i, phase))) {
                let (group, channels) = (panel / self.panels(), self.channels_of_panel(panel % self.panels()));
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
    /// Packed, or not if that is the plan.
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
        let image = Image::new(self.input, n, plan.dims.map(|dim| dim.inputs), plan.in_channels);
        let inputs = [0, 1].map(|dim| plan.inputs_of_strip(dim, index[dim]));
        // A row of taps must be contiguous.
        let may_stay = plan.p.groups == 1 || plan.dims[1].bound().taps <= 1;
        for group in 0..plan.p.groups {
            let channels = group * plan.inputs..(group + 1) * plan.inputs;
            let strip = (may_stay.then(|| image.strip(inputs, channels.clone())).flatten())
                .unwrap_or_else(|| image.copy_strip(s, inputs, channels, plan.inputs, self.scratch));
            for phase in plan.phases() {
                let segments = [0, 1].map(|dim| phase.axes[dim].segment(plan.strips[dim], index[dim]));
                if segments.iter().any(|segment| segment.outputs.is_empty()) {
                    continue;
                }
                let strip = LocatedStrip { strip, first: inputs.map(|inputs| inputs.first) };
                for panel in share(plan.panels(), plan.channel_shares, self.channel_share) {
                    // SAFETY: the strip holds the inputs of `segments`; no other task has this strip's pixels and these
                    // channels.
                    unsafe { self.run_panel(s, n, group, &phase, &segments, strip, panel) };
                }
            }
        }
    }
}

/// A strip, and the row and the column of its first pixel in the image.
#[derive(Clone, Copy)]
struct LocatedStrip {
    strip: Strip,
    first: [isize; 2],
}

impl LocatedStrip {
    /// The pixel in a row and a column of the image.
    fn at(&self, row: isize, column: isize) -> *const f32 {
        self.strip.at((row - self.first[0]) as usize, (column - self.first[1]) as usize).start
    }
}

/// The weights of a panel's channels.
struct PanelWeight<'a> {
    /// From the first on.
    values: &'a [f32],
    /// From an input channel of a tap to the next, and from a row of taps to the next.
    step: usize,
    row: usize,
}

impl StripTask<'_> {
    fn weight_of(&self, group: usize, phase: &Phase, channels: Range<usize>) -> PanelWeight<'_> {
        let plan = self.plan;
        if plan.is_unpacked {
            // The axes of a forward pass have all taps, in their order.
            let (step, row) = (plan.p.k, plan.p.s * plan.inputs * plan.p.k);
            return PanelWeight { values: &self.weight[group * plan.outputs + channels.start..], step, row };
        }
        let first = group * plan.weight_len + phase.weight + plan.packed_len(phase, channels.start);
        let values = &self.weight[first..first + plan.packed_len(phase, channels.len())];
        let step = if plan.is_narrow() { 1 } else { channels.len().next_multiple_of(plan.lanes) };
        PanelWeight { values, step, row: plan.packed_row_len(phase, channels.len()) }
    }

    /// One panel of channels for all pixels of one phase.
    ///
    /// # Safety
    /// `strip` must hold the inputs of the segments that are in rows of the image, and no one else may read or write
    /// these pixels' channels.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn run_panel<S: Simd>(
        &self,
        s: S,
        n: usize,
        group: usize,
        phase: &Phase,
        [rows, columns]: &[Segment; 2],
        strip: LocatedStrip,
        panel: usize,
    ) {
        let plan = self.plan;
        let [row_axis, column_axis] = &phase.axes;
        let [height, width] = plan.dims.map(|dim| dim.inputs);
        let channels = plan.channels_of_panel(panel);
        let weight = self.weight_of(group, phase, channels.clone());
        let bias = &self.bias[group * plan.bias_len() + channels.start..];
        let bias = &bias[..channels.len().next_multiple_of(plan.lanes)];
        let pixels = if plan.is_sparse { SPARSE_PIXELS } else { columns.outputs.len() };
        for row in rows.outputs.clone() {
            let row_taps = row_axis.taps_inside(row..row + 1, height);
            let row_in = row_axis.first_input(row) + row_taps.start as isize;
            let row = row_axis.out_first + row * row_axis.out_step;
            for start in columns.outputs.clone().step_by(pixels) {
                let outputs = start..columns.outputs.end.min(start + pixels);
                let taps =
                    if plan.is_sparse { column_axis.taps_inside(outputs.clone(), width) } else { 0..column_axis.taps };
                let column_in = column_axis.first_input(start) + taps.start as isize;
                let column = column_axis.out_first + start * column_axis.out_step;
                let pixel = (n * plan.dims[0].outputs + row) * plan.dims[1].outputs + column;
                let out = pixel * plan.out_channels + group * plan.outputs + channels.start;
                let first_weight = row_taps.start * weight.row + taps.start * plan.inputs * weight.step;
                // SAFETY: an axis has no outputs outside the output, whose length `Correlation::run` checked; the
                // taps are those that meet the image; the caller promised the rest.
                unsafe {
                    let operands = RowOperands {
                        input: strip.at(row_in, column_in),
                        input_row: strip.strip.row,
                        input_pixel: column_axis.in_step * strip.strip.pixel,
                        rows: row_taps.len(),
                        depth: taps.len() * plan.inputs,
                        weight: weight.values.as_ptr().add(first_weight),
                        weight_step: weight.step,
                        weight_row: weight.row,
                        bias: bias.as_ptr(),
                        out: self.out.as_mut_ptr().add(out),
                        out_pixel: column_axis.out_step * plan.out_channels,
                        channels: channels.len(),
                        add: self.write == Write::Add,
                    };
                    match plan.is_narrow() {
                        true => run_narrow_row(s, operands, outputs.len()),
                        false => run_row(s, operands, outputs.len()),
                    }
                }
            }
        }
    }
}
