//! Launches the convolution kernels of `conv2d.cu`, and those on tensor cores of `conv2d_tf32.cu`; their first comments tell how they
//! work.

pub(crate) mod tf32;

use super::Conv2dParams;
use crate::Write;
use crate::cuda_rt::columns::Columns;
use crate::cuda_rt::{Arg, Device, Ptr, Slice, kernels};

kernels!("conv2d" with "conv2d.cuh" {
    conv2d_forward_1x32: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_4x32: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_4x64: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_1x32: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_4x32: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_4x64: 128 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_to_one: 256 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_to_one: 256 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_from_one: 256 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_from_one: 256 (Shape, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_weight_1x1x32: 128 (Shape, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_1x4x32: 128 (Shape, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_4x4x32: 128 (Shape, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_4x4x64: 128 (Shape, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_sum_splits: 256 (u32, u32, Ptr, Ptr, u32),
    conv2d_bias_sums: 256 (Columns, Ptr, Ptr),
    conv2d_bias: 256 (Columns, Ptr, Ptr, u32),
});

// Constants of conv2d.cuh and conv2d.cu.
const TILE_ROWS: usize = 128;
const TILE_TAPS: usize = 64;
const DEPTH: usize = 16;
const ONE_PIXELS: usize = 4;
const BIAS_ROWS: usize = 32;

/// Blocks that a weight gradient is cut into, at least, if there are pixels enough: four for each multiprocessor of a large GPU.
const WEIGHT_BLOCKS: usize = 512;

/// Pixels that are worth a part of a weight gradient's sum.
const MIN_SPLIT_PIXELS: usize = 256;

/// `Conv` in conv2d.cuh.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pixels: u32,
    out_h: u32,
    out_w: u32,
    out_channels: u32,
    in_h: u32,
    in_w: u32,
    in_channels: u32,
    group_in: u32,
    group_out: u32,
    r: u32,
    s: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
    depth: u32,
    weight_stride: u32,
    split_pixels: u32,
    add: u32,
}

// SAFETY: `Conv` in conv2d.cuh has the same fields.
unsafe impl Arg for Shape {}

/// `Map` in conv2d.cuh: an affine map of channels; no addresses if there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    scale: Ptr,
    shift: Ptr,
}

// SAFETY: `Map` in conv2d.cuh has the same fields.
unsafe impl Arg for Map {}

/// The values of an operand, and its [`Affine`](super::Affine) map: two slices as long as it has channels, or empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapped {
    values: Slice,
    scale: Slice,
    shift: Slice,
}

impl Mapped {
    /// An operand of `channels`.
    pub(crate) fn new(values: Slice, [scale, shift]: [Slice; 2], channels: usize) -> Mapped {
        assert_eq!(scale.len, shift.len, "a map has a scale and a shift");
        assert!(scale.len == 0 || scale.len == channels, "map of {} for {channels} channels", scale.len);
        Mapped { values, scale, shift }
    }

    fn map(&self) -> Map {
        Map { scale: self.scale.ptr, shift: self.shift.ptr }
    }

    fn is_aligned(&self) -> bool {
        self.values.is_aligned() && self.scale.is_aligned() && self.shift.is_aligned()
    }
}

/// Whether a kernel computes a convolution or its adjoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Adjoint,
}

impl Shape {
    fn new(p: &Conv2dParams, direction: Direction, write: Write) -> Shape {
        // rows and columns of windows are 16-bit numbers
        let extent = |size: usize, pad: usize, taps: usize| size + 2 * pad + taps;
        let largest = extent(p.h, p.pad_h, p.r).max(extent(p.w, p.pad_w, p.s));
        assert!(largest < 1 << 15, "{p:?}: the CUDA kernels take images of up to 32767 pixels a side, with padding");
        let [(out_h, out_w, out_channels), (in_h, in_w, in_channels)] = match direction {
            Direction::Forward => [(p.p, p.q, p.k), (p.h, p.w, p.c)],
            Direction::Adjoint => [(p.h, p.w, p.c), (p.p, p.q, p.k)],
        };
        let group_in = in_channels / p.groups;
        let shape = [out_h, out_w, out_channels, in_h, in_w, in_channels].map(|size| size as u32);
        Shape {
            pixels: (p.n * out_h * out_w) as u32,
            out_h: shape[0],
            out_w: shape[1],
            out_channels: shape[2],
            in_h: shape[3],
            in_w: shape[4],
            in_channels: shape[5],
            group_in: group_in as u32,
            group_out: (out_channels / p.groups) as u32,
            r: p.r as u32,
            s: p.s as u32,
            stride_h: p.stride_h as u32,
            stride_w: p.stride_w as u32,
            pad_h: p.pad_h as u32,
            pad_w: p.pad_w as u32,
            depth: (p.r * p.s * group_in) as u32,
            weight_stride: p.k as u32,
            split_pixels: 0,
            add: u32::from(write == Write::Add),
        }
    }
}

/// Elements of scratch for a weight gradient.
pub(crate) fn grad_weight_workspace_len(p: &Conv2dParams) -> usize {
    splits(p) * p.weight_len()
}

/// Parts that the sum of a weight gradient is cut into. They depend on the shape alone, not on the GPU: it would be other bits.
fn splits(p: &Conv2dParams) -> usize {
    let (taps, k) = (p.r * p.s * p.c / p.groups, p.k / p.groups);
    let tiles = taps.div_ceil(TILE_TAPS) * k.div_ceil(columns(k)) * p.groups;
    let pixels = p.n * p.p * p.q;
    WEIGHT_BLOCKS.div_ceil(tiles).min(pixels.div_ceil(MIN_SPLIT_PIXELS)).max(1)
}

/// Channels that a block computes.
fn columns(channels: usize) -> usize {
    if channels >= 64 { 64 } else { 32 }
}

/// Elements of scratch for a bias gradient.
pub(crate) fn grad_bias_workspace_len(rows: usize, channels: usize) -> usize {
    Columns::new(rows, channels, BIAS_ROWS).cells()
}

impl Kernels {
    /// `y (+)= conv(x, w) + bias`, or the adjoint, `dx (+)= conv^T(dy, w) + bias`: `input` is what is read, `out` what is written.
    /// On tensor cores, if there is `tf32` and it has a kernel for the shape.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn gather(
        &self,
        tf32: Option<&tf32::Kernels>,
        device: &Device,
        direction: Direction,
        p: &Conv2dParams,
        input: Mapped,
        w: Slice,
        bias: Slice,
        out: Slice,
        write: Write,
    ) {
        let shape = Shape::new(p, direction, write);
        let pixels = shape.pixels as usize;
        let [group_in, group_out] = [shape.group_in, shape.group_out].map(|channels| channels as usize);
        let forward = direction == Direction::Forward;
        let in_aligned = input.is_aligned();
        let [w_aligned, out_aligned] = [w, out].map(Slice::is_aligned);
        let pick = |ours, adjoint| if forward { ours } else { adjoint };
        let (kernel, grid) = if p.groups == 1 && group_out == 1 && group_in.is_multiple_of(4) && in_aligned && w_aligned
        {
            let blocks = pixels.div_ceil(ONE_PIXELS * 256 / 8);
            (pick(&self.conv2d_forward_to_one, &self.conv2d_adjoint_to_one), [blocks, 1, 1])
        } else if p.groups == 1 && group_in == 1 && group_out.is_multiple_of(4) && w_aligned && out_aligned {
            let threads = group_out / 4 * pixels.div_ceil(ONE_PIXELS);
            (pick(&self.conv2d_forward_from_one, &self.conv2d_adjoint_from_one), [threads.div_ceil(256), 1, 1])
        } else {
            let wide = group_in.is_multiple_of(4) && group_out.is_multiple_of(4);
            let wide = wide && in_aligned && w_aligned && out_aligned;
            let (kernel, columns) = match (wide, columns(group_out), tf32) {
                (true, columns, Some(tf32)) => (tf32.gather(direction, columns), columns),
                (true, 64, None) => (pick(&self.conv2d_forward_4x64, &self.conv2d_adjoint_4x64), 64),
                (true, _, None) => (pick(&self.conv2d_forward_4x32, &self.conv2d_adjoint_4x32), 32),
                (false, _, _) => (pick(&self.conv2d_forward_1x32, &self.conv2d_adjoint_1x32), 32),
            };
            (kernel, [pixels.div_ceil(TILE_ROWS), group_out.div_ceil(columns), p.groups])
        };
        // SAFETY: the caller has checked the lengths against `p`, which is where all indices come from.
        unsafe { kernel.launch(device, grid, (shape, input.map(), input.values.ptr, w.ptr, bias.ptr, out.ptr)) }
    }

    /// `dw (+)= x^T dy` for every tap; on tensor cores as [`gather`](Self::gather)
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn grad_weight(
        &self,
        tf32: Option<&tf32::Kernels>,
        device: &Device,
        p: &Conv2dParams,
        x: Mapped,
        dy: Mapped,
        dw: Slice,
        write: Write,
        workspace: Slice,
    ) {
        let mut shape = Shape::new(p, Direction::Forward, write);
        let splits = splits(p);
        let partial = workspace.scratch(splits * dw.len).ptr;
        shape.split_pixels = (shape.pixels as usize).div_ceil(splits).next_multiple_of(DEPTH) as u32;
        let [group_in, group_out] = [shape.group_in, shape.group_out].map(|channels| channels as usize);
        let x_wide = group_in.is_multiple_of(4) && x.is_aligned();
        let dy_wide = group_out.is_multiple_of(4) && dy.is_aligned();
        let (kernel, columns) = match (x_wide, dy_wide, columns(group_out), tf32) {
            (true, true, columns, Some(tf32)) => (tf32.grad_weight(columns), columns),
            (true, true, 64, None) => (&self.conv2d_weight_4x4x64, 64),
            (true, true, _, None) => (&self.conv2d_weight_4x4x32, 32),
            (false, true, _, _) => (&self.conv2d_weight_1x4x32, 32),
            (_, false, _, _) => (&self.conv2d_weight_1x1x32, 32),
        };
        let grid = [(shape.depth as usize).div_ceil(TILE_TAPS), group_out.div_ceil(columns), splits * p.groups];
        let (len, parts) = (dw.len as u32, splits as u32);
        // SAFETY: the caller has checked the lengths against `p`, which is where all indices come from; the workspace has a
        // weight for each split.
        unsafe {
            kernel.launch(device, grid, (shape, parts, x.map(), x.values.ptr, dy.map(), dy.values.ptr, partial));
            let grid = [dw.len.div_ceil(32), 1, 1];
            self.conv2d_sum_splits.launch(device, grid, (len, parts, partial, dw.ptr, shape.add));
        }
    }

    /// `db (+)= sum of the rows of dy`
    pub(crate) fn grad_bias(&self, device: &Device, dy: Slice, db: Slice, write: Write, workspace: Slice) {
        let columns = Columns::new(dy.len / db.len, db.len, BIAS_ROWS);
        let partial = workspace.scratch(columns.cells());
        // SAFETY: `columns` describes dy, whose last index is that of db; the workspace has a value for each of its chunks.
        unsafe { self.conv2d_bias_sums.launch(device, columns.grid(), (columns, dy.ptr, partial.ptr)) }
        self.finish_bias(device, columns, partial, db, write);
    }

    /// `db (+)= sum of the chunks' sums`, of which `partial` has one for each
    pub(crate) fn finish_bias(&self, device: &Device, columns: Columns, partial: Slice, db: Slice, write: Write) {
        let partial = partial.scratch(columns.cells());
        let add = u32::from(write == Write::Add);
        // SAFETY: `db` has as many elements as `columns` has channels, `partial` one for each chunk.
        unsafe { self.conv2d_bias.launch(device, columns.grid_of_channels(), (columns, partial.ptr, db.ptr, add)) }
    }
}
