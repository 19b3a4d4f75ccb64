//! Weight gradient.
//!
//! The strips of all images are divided into a fixed number of shares. Each share sums into an array of its own, and at
//! the end these are added to each other in their order, so the result does not depend on the threads. There may be too
//! few strips to go round, or a weight so large that the arrays would take too much memory: then tasks share the
//! weight, too. They share nothing else if the arrays would cost more than what all tasks together read. So it is for
//! most linear layers: their weight is cut by its rows, and each task reads a part of the input.

use super::outer::{OuterOperands, run_rows, run_vectors};
use super::plan::{LINE, MAX_NARROW, PANEL_VECTORS, aligned, strips};
use super::strip::{Image, Strip};
use crate::host::Cpu;
use crate::loops::TASK_LEN;
use crate::ops::conv2d::affine::Mapped;
use crate::ops::conv2d::cpu::axis::{Axis, Dimension, Inputs, Segment};
use crate::ops::conv2d::cpu::operands::WeightGradient;
use crate::ops::conv2d::cpu::registers::isa_for;
use crate::ops::conv2d::cpu::tasks::{share, wanted_tasks};
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::parallel::{Pool, SharedSlice};
use crate::pass::Write;
use crate::simd::{Isa, Kernel, Simd};

/// Elements of the input and of `dy` of a strip, 128 KiB. Half and twice as many change the time by 3 % at most. In
/// strips that stay in the first-level cache there are too few pixels: the sums' way to memory costs more than the
/// second-level cache.
const STRIP_LEN: usize = 32 * 1024;

/// Elements of the sums of all shares.
const MAX_SUMS_LEN: usize = 4 * 1024 * 1024;

/// Rows of the weight that a piece has at least, if pieces are cut by rows.
const PIECE_ROWS: usize = 128;

/// What an element of a share's sums costs, which goes to memory and back, compared with one that is read.
const COST_OF_SUM: usize = 3;

/// `dw (+)= x^T dy` for every tap
pub(in super::super) fn grad_weight(cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
    Plan::new(gradient.params, cpu.isa).run(cpu, gradient, workspace);
}

/// Scratch of [`grad_weight`], in elements.
pub(in super::super) fn grad_weight_workspace_len(cpu: &Cpu, p: &Conv2dParams) -> usize {
    Plan::new(p, cpu.isa).workspace_len(cpu)
}

/// How the pass is cut up. It depends on the shape and the instruction set alone.
struct Plan {
    p: Conv2dParams,
    isa: Isa,
    lanes: usize,
    /// Those of the outputs that reach the image.
    axes: [Axis; 2],
    /// Whether the kernel is so wide that most of its taps are outside the image.
    is_sparse: bool,
    /// Channels of a group.
    inputs: usize,
    outputs: usize,
    /// Strips of rows and of columns.
    strips: [usize; 2],
    /// Images that a register block sums over, if none of their values have to be copied: those of so few pixels that
    /// the sums' way to memory would cost more than the products.
    images: usize,
    /// Pieces that the rows of a tap row are cut into.
    row_pieces: usize,
    /// Shares of the strips, each with sums of its own.
    strip_shares: usize,
    /// Tasks that share the pieces of the weight.
    weight_shares: usize,
    /// Elements of a strip's input and of its `dy`.
    x_len: usize,
    dy_len: usize,
}

impl Plan {
    fn new(p: &Conv2dParams, isa: Isa) -> Plan {
        let p = p.flattened();
        let axes = Dimension::both(&p, Direction::Forward).map(Dimension::bound);
        let outputs = p.k / p.groups;
        let isa = isa_for(isa, outputs);
        let mut plan = Plan {
            p,
            isa,
            lanes: isa.lanes(),
            axes,
            is_sparse: p.s > p.w,
            inputs: p.c / p.groups,
            outputs,
            strips: [1; 2],
            images: 1,
            row_pieces: 1,
            strip_shares: 1,
            weight_shares: 1,
            x_len: 0,
            dy_len: 0,
        };
        let dy_pixel = if plan.is_narrow() { plan.outputs } else { plan.outputs.next_multiple_of(plan.lanes) };
        let wanted = wanted_tasks(p.flops());
        plan.row_pieces = plan.row_pieces_of(wanted);
        // A piece of a linear layer's weight reads as many of the channels.
        let inputs = if [p.r, p.s] == [1; 2] { plan.inputs.div_ceil(plan.row_pieces) } else { plan.inputs };
        plan.strips = strips(&axes, p.h, STRIP_LEN, |x, dy| x * inputs + dy * dy_pixel);
        plan.images = plan.images_in_place();
        let [rows, columns] = [0, 1].map(|dim| axes[dim].count.div_ceil(plan.strips[dim]));
        // Vectors of a narrow register block reach behind the last pixel.
        let x_len = axes[0].in_len(rows).min(p.h) * axes[1].in_len(columns) * plan.inputs + plan.lanes;
        plan.x_len = x_len.next_multiple_of(LINE);
        plan.dy_len = (rows * columns * dy_pixel).next_multiple_of(LINE);
        plan.strip_shares = plan.strip_shares_of(wanted);
        plan.weight_shares = wanted.div_ceil(plan.strip_shares).min(plan.weight_pieces());
        plan
    }

    /// Pieces of the rows of a tap row, if the weight has fewer other pieces than there are tasks.
    fn row_pieces_of(&self, tasks: usize) -> usize {
        let is_cut = !self.is_narrow() && !self.is_sparse && self.weight_pieces() < tasks;
        if is_cut { self.depth().div_ceil(PIECE_ROWS) } else { 1 }
    }

    /// Shares of the strips for so many tasks.
    fn strip_shares_of(&self, tasks: usize) -> usize {
        let shares = tasks.min(self.image_strips()).min(MAX_SUMS_LEN / self.sums_len()).max(1);
        let read = self.image_strips() * (tasks.div_ceil(self.row_pieces) * self.x_len + tasks * self.dy_len);
        if self.weight_pieces() >= tasks && COST_OF_SUM * shares * self.sums_len() > read { 1 } else { shares }
    }

    /// How many images can be strips together where they are.
    fn images_in_place(&self) -> usize {
        let segments = [0, 1].map(|dim| self.axes[dim].segment(1, 0));
        let [rows, columns] = self.inputs(&segments);
        let is_inside = rows.is_inside(self.p.h) && columns.is_inside(self.p.w);
        let is_whole = !self.is_narrow() && self.outputs.is_multiple_of(self.lanes);
        if self.strips != [1; 2] || self.p.groups > 1 || !is_inside || !is_whole || self.image_strips() == 0 {
            return 1;
        }
        let len = self.p.h * self.p.w * self.inputs + self.p.p * self.p.q * self.outputs;
        (STRIP_LEN / len).max(1)
    }

    /// Whether the vectors are values of the input. Of a sparse kernel, only other vectors can leave out pixels.
    fn is_narrow(&self) -> bool {
        self.outputs <= MAX_NARROW && !self.is_sparse
    }

    /// Values of the input that a row of taps meets.
    fn depth(&self) -> usize {
        self.p.s * self.inputs
    }

    /// `[from a tap row's sums to those of the next, from a row of a register block to the next]`
    fn sums_strides(&self) -> [usize; 2] {
        if self.is_narrow() {
            let depth = self.depth().next_multiple_of(self.lanes);
            [depth, self.p.r * depth]
        } else {
            let outputs = self.outputs.next_multiple_of(self.lanes);
            [self.depth() * outputs, outputs]
        }
    }

    /// Elements of the sums of a group: `[tap row][tap column][input channel][output channel]`, or if there are few
    /// outputs `[output channel][tap row][tap column][input channel]`, the last dimension in whole vectors.
    fn group_sums_len(&self) -> usize {
        let [tap_row, row] = self.sums_strides();
        if self.is_narrow() { self.outputs * row } else { self.p.r * tap_row }
    }

    /// Elements of the sums of a share.
    fn sums_len(&self) -> usize {
        (self.p.groups * self.group_sums_len()).next_multiple_of(LINE)
    }

    fn image_strips(&self) -> usize {
        let reached = self.axes.iter().all(|axis| axis.count > 0);
        if reached { self.p.n * self.strips[0] * self.strips[1] } else { 0 }
    }

    /// Pieces of the weight that tasks can share: of some rows of a tap row, and a panel of output channels.
    fn weight_pieces(&self) -> usize {
        self.p.r * self.panels() * self.row_pieces
    }

    /// Panels of output channels.
    fn panels(&self) -> usize {
        if self.is_narrow() { 1 } else { self.outputs.div_ceil(PANEL_VECTORS * self.lanes) }
    }

    fn workspace_len(&self, cpu: &Cpu) -> usize {
        LINE + self.strip_shares * self.sums_len() + cpu.pool.threads() * (self.x_len + self.dy_len)
    }

    fn run(&self, cpu: &Cpu, gradient: WeightGradient<'_>, workspace: &mut [f32]) {
        let WeightGradient { x, dy, dw, write, .. } = gradient;
        let (sums, rest) = aligned(workspace).split_at_mut(self.strip_shares * self.sums_len());
        let scratch = &mut rest[..cpu.pool.threads() * (self.x_len + self.dy_len)];
        if self.image_strips() == 0 {
            sums.fill(0.0);
        }
        if write == Write::Set && self.has_sums_of_weight() {
            self.sum(cpu, x, dy, dw, scratch);
        } else {
            self.sum(cpu, x, dy, sums, scratch);
            self.reduce(&cpu.pool, sums, dw, write);
        }
    }

    /// Whether the sums are as the weight is: one share of them, with no lanes behind its channels.
    fn has_sums_of_weight(&self) -> bool {
        let is_padded = self.is_narrow() || !self.outputs.is_multiple_of(self.lanes);
        self.strip_shares == 1 && self.p.groups == 1 && !is_padded && self.image_strips() > 0
    }

    /// The sums of all shares, one behind the other.
    fn sum(&self, cpu: &Cpu, x: Mapped<&[f32]>, dy: Mapped<&[f32]>, sums: &mut [f32], scratch: &mut [f32]) {
        let shared = SharedSlice::new(sums);
        cpu.pool.for_each_with_scratch(self.strip_shares * self.weight_shares, scratch, |task, scratch| {
            let (strip_share, weight_share) = (task / self.weight_shares, task % self.weight_shares);
            let sums = shared.as_mut_ptr().wrapping_add(strip_share * self.sums_len());
            self.isa.dispatch(Task { plan: self, x, dy, sums, strip_share, weight_share, scratch });
        });
    }

    /// `dw (+)= sum of the sums of all shares`, in their order.
    fn reduce(&self, pool: &Pool, sums: &[f32], dw: &mut [f32], write: Write) {
        let (rows, k) = (self.p.r * self.depth(), self.p.k);
        let tasks = (dw.len() * self.strip_shares / TASK_LEN).clamp(1, rows);
        let [tap_row, sums_row] = self.sums_strides();
        let shared = SharedSlice::new(dw);
        pool.for_each(tasks, |task| {
            for row in share(rows, tasks, task) {
                // SAFETY: every task has its own rows.
                let dw = unsafe { shared.slice(row * k, k) };
                if write == Write::Set {
                    dw.fill(0.0);
                }
                let (r, i) = (row / self.depth(), row % self.depth());
                for (group, dw) in dw.chunks_exact_mut(self.outputs).enumerate() {
                    for sums in sums.chunks_exact(self.sums_len()) {
                        let sums = &sums[group * self.group_sums_len() + r * tap_row..];
                        if self.is_narrow() {
                            let sums = sums[i..].iter().step_by(sums_row);
                            dw.iter_mut().zip(sums).for_each(|(dw, sum)| *dw += sum);
                        } else {
                            dw.iter_mut().zip(&sums[i * sums_row..]).for_each(|(dw, sum)| *dw += sum);
                        }
                    }
                }
            }
        });
    }
}

/// A share of the strips, for a share of the weight.
struct Task<'a> {
    plan: &'a Plan,
    x: Mapped<&'a [f32]>,
    dy: Mapped<&'a [f32]>,
    /// The sums of the share of the strips, of which other tasks may write other pieces.
    sums: *mut f32,
    strip_share: usize,
    weight_share: usize,
    scratch: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let plan = self.plan;
        let p = &plan.p;
        let (x_scratch, dy_scratch) = self.scratch.split_at_mut(plan.x_len);
        let strips = share(plan.image_strips(), plan.strip_shares, self.strip_share);
        let together = if self.x.is_plain() && self.dy.is_plain() { plan.images } else { 1 };
        for strip in strips.clone().step_by(together) {
            let images = together.min(strips.end - strip);
            let n = strip / (plan.strips[0] * plan.strips[1]);
            let index = [strip / plan.strips[1] % plan.strips[0], strip % plan.strips[1]];
            let segments = [0, 1].map(|dim| plan.axes[dim].segment(plan.strips[dim], index[dim]));
            let x = Image::new(self.x, n, [p.h, p.w], p.c);
            let dy = Image::new(self.dy, n, [p.p, p.q], p.k);
            for group in 0..p.groups {
                let x = plan.x_strip(s, &x, &segments, group, x_scratch);
                let dy = plan.dy_strip(s, &dy, &segments, group, dy_scratch);
                // SAFETY: the group's sums are inside the share's.
                let sums = unsafe { self.sums.add(group * plan.group_sums_len()) };
                for piece in share(plan.weight_pieces(), plan.weight_shares, self.weight_share) {
                    // SAFETY: `x` and `dy` are the strips of `segments`; no other task has this share's sums of this
                    // piece.
                    unsafe { plan.run_piece(s, piece, [x, dy], images, &segments, sums, strip > strips.start) };
                }
            }
        }
    }
}

impl Plan {
    /// The rows and columns of the input that a strip reads: no rows outside the image, but columns with zeros. Of a
    /// sparse kernel, taps that read these are left out.
    fn inputs(&self, segments: &[Segment; 2]) -> [Inputs; 2] {
        let columns = segments[1].inputs;
        [segments[0].inputs.cut(self.p.h), if self.is_sparse { columns.cut(self.p.w) } else { columns }]
    }

    #[inline(always)]
    fn x_strip<S: Simd>(&self, s: S, x: &Image, segments: &[Segment; 2], group: usize, scratch: &mut [f32]) -> Strip {
        let channels = group * self.inputs..(group + 1) * self.inputs;
        let inputs = self.inputs(segments);
        // A row of taps must be contiguous, and vectors of a narrow register block reach behind the last pixel.
        let in_place = (self.p.groups == 1 || self.p.s == 1) && !self.is_narrow();
        (in_place.then(|| x.strip(inputs, channels.clone())).flatten())
            .unwrap_or_else(|| x.copy_strip(s, inputs, channels.clone(), self.inputs, scratch))
    }

    #[inline(always)]
    fn dy_strip<S: Simd>(&self, s: S, dy: &Image, segments: &[Segment; 2], group: usize, scratch: &mut [f32]) -> Strip {
        let channels = group * self.outputs..(group + 1) * self.outputs;
        let outputs = [0, 1].map(|dim| {
            let Segment { outputs, .. } = &segments[dim];
            Inputs { first: (self.axes[dim].out_first + outputs.start) as isize, len: outputs.len() }
        });
        // Outputs are rows of a register block that is narrow, and whole vectors of one that is not.
        let pixel = if self.is_narrow() { self.outputs } else { self.outputs.next_multiple_of(self.lanes) };
        let in_place = if pixel == self.outputs { dy.strip(outputs, channels.clone()) } else { None };
        match in_place {
            Some(strip) => strip,
            None => dy.copy_strip(s, outputs, channels, pixel, scratch),
        }
    }

    /// Adds up a piece of a group's weight over the pixels of a strip, and of those of the images behind it.
    ///
    /// # Safety
    /// `x` and `dy` must hold the inputs and outputs of the segments, `x` a vector more if the outputs are few, and of
    /// more than one image, be where they are in the batch. `sums` are a group's sums, of which no one else reads or
    /// writes this piece's.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn run_piece<S: Simd>(
        &self,
        s: S,
        piece: usize,
        [x, dy]: [Strip; 2],
        images: usize,
        segments: &[Segment; 2],
        sums: *mut f32,
        add: bool,
    ) {
        let (r, panel) = (piece % self.p.r, piece / self.p.r % self.panels());
        let (vector, row_piece) = (panel * PANEL_VECTORS, piece / (self.p.r * self.panels()));
        let first = self.inputs(segments).map(|inputs| inputs.first);
        let [tap_row, sums_row] = self.sums_strides();
        let [rows, columns] = segments.each_ref().map(|segment| segment.outputs.clone());
        let inside = self.axes[0].outputs_inside(r, rows.clone(), self.p.h);
        if inside.is_empty() && add {
            return;
        }
        let (x_row, x_pixel) = (self.axes[0].in_step * x.row, self.axes[1].in_step * x.pixel);
        // All columns of taps, or one after the other, if most of them meet few pixels.
        let taps = if self.is_sparse { 1 } else { self.p.s };
        for tap in (0..self.p.s).step_by(taps) {
            let columns_inside = match self.is_sparse {
                true => self.axes[1].outputs_inside(tap, columns.clone(), self.p.w),
                false => columns.clone(),
            };
            let (depth, pixels) = (taps * self.inputs, [images, inside.len(), columns_inside.len()]);
            let [x_image, dy_image] = [self.p.h * self.p.w * self.p.c, self.p.p * self.p.q * self.p.k];
            let (mut x_pixel_0, mut dy_pixel_0) = (x.start, dy.start);
            if pixels[1] * pixels[2] > 0 {
                let row_in = self.axes[0].first_input(inside.start) + r as isize - first[0];
                let column_in = self.axes[1].first_input(columns_inside.start) + tap as isize - first[1];
                x_pixel_0 = x.at(row_in as usize, column_in as usize).start;
                dy_pixel_0 = dy.at(inside.start - rows.start, columns_inside.start - columns.start).start;
            }
            // SAFETY: the strips have what these taps meet of these outputs; the piece is one of the group's sums; the
            // caller promised the rest.
            unsafe {
                let sums = sums.add(r * tap_row + tap * self.inputs * sums_row + vector * S::LANES);
                if self.is_narrow() {
                    let operands = OuterOperands {
                        a: dy_pixel_0,
                        a_image: dy_image,
                        a_row: dy.row,
                        a_pixel: dy.pixel,
                        b: x_pixel_0,
                        b_image: x_image,
                        b_row: x_row,
                        b_pixel: x_pixel,
                        pixels,
                        sums,
                        sums_row,
                        add,
                    };
                    run_vectors(s, operands, self.outputs, depth.div_ceil(S::LANES));
                } else {
                    let depth = share(depth, self.row_pieces, row_piece);
                    let operands = OuterOperands {
                        a: x_pixel_0.wrapping_add(depth.start),
                        a_image: x_image,
                        a_row: x_row,
                        a_pixel: x_pixel,
                        b: dy_pixel_0.wrapping_add(vector * S::LANES),
                        b_image: dy_image,
                        b_row: dy.row,
                        b_pixel: dy.pixel,
                        pixels,
                        sums: sums.add(depth.start * sums_row),
                        sums_row,
                        add,
                    };
                    let vectors = (self.outputs.div_ceil(S::LANES) - vector).min(PANEL_VECTORS);
                    run_rows(s, operands, depth.len(), vectors);
                }
            }
        }
    }
}
