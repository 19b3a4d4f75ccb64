//! Launches the convolution kernels: those of `conv2d.cu`, those on tensor cores of `conv2d_tf32.cu`, and those of 3x3
//! convolutions (`halo.rs`). Their first comments tell how they work.

mod args;
mod halo;
mod tf32;

use super::affine::Mapped;
use super::operands;
use super::params::{Conv2dParams, Direction};
use super::precision::Precision;
use crate::gpu::columns::Columns;
use crate::gpu::{CudaError, Device, Gpu, Ptr, Slice, kernels};
#[cfg(test)]
use crate::gpu::{KernelFile, KernelSet};
use crate::pass::Write;
pub(super) use args::limit;
use args::{CudaConv, Map, halo_tiles};
use halo::Halo;

kernels!("conv2d" with "conv2d.cuh" {
    conv2d_forward_1x32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_4x32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_4x64: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_1x32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_4x32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_4x64: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_any_4x32: 128 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_to_one: 256 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_to_one: 256 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_forward_from_one: 256 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_adjoint_from_one: 256 (CudaConv, Map, Ptr, Ptr, Ptr, Ptr),
    conv2d_weight_1x1x32: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_1x4x32: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_4x4x32: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_weight_4x4x64: 128 (CudaConv, u32, Map, Ptr, Map, Ptr, Ptr),
    conv2d_sum_splits: 256 (u32, u32, Ptr, Ptr, u32),
    conv2d_bias_sums: 256 (Columns, Ptr, Ptr),
    conv2d_bias: 256 (Columns, Ptr, Ptr, u32),
});

// Constants of conv2d.cuh, halo.cuh and conv2d.cu.
const TILE_ROWS: usize = 128;
const TILE_TAPS: usize = 64;
const DEPTH: usize = 16;
const CHUNK: usize = 32;
const HALO_OUTPUTS: usize = 32;
const ONE_PIXELS: usize = 4;
const BIAS_ROWS: usize = 32;

/// Blocks that a weight gradient is cut into, at least, if there are pixels enough: four for each multiprocessor of a
/// large GPU.
const WEIGHT_BLOCKS: usize = 512;

/// As `WEIGHT_BLOCKS`, if a block has all taps, so that each has a larger part of the weight: two for each
/// multiprocessor.
const HALO_WEIGHT_BLOCKS: usize = 256;

/// How full tiles of pixels have to be, in percent, for kernels with a halo to take fewer instructions than others, as
/// ROOFLINE.md counts them: of a convolution in f32; on tensor cores, and of a weight gradient.
const FULL_IN_F32: usize = 80;
const FULL: usize = 50;

/// Pixels that are worth a split of a weight gradient's sum.
const MIN_SPLIT_PIXELS: usize = 256;

/// Loads the kernels that a precision needs, but those of `conv2d.cu`.
pub(crate) fn load_kernels(gpu: &mut Gpu, precision: Precision) -> Result<(), CudaError> {
    match precision {
        Precision::F32 => gpu.load::<halo::f32::Kernels>(),
        Precision::Tf32x3 => gpu.load::<halo::tf32x3::Kernels>(),
        Precision::Tf32 => {
            gpu.load::<halo::tf32::Kernels>()?;
            gpu.load::<tf32::Kernels>()
        }
    }
}

/// The files of those kernels.
#[cfg(test)]
pub(crate) fn kernel_files() -> [KernelFile; 4] {
    [tf32::Kernels::FILE, halo::f32::Kernels::FILE, halo::tf32::Kernels::FILE, halo::tf32x3::Kernels::FILE]
}

type Convolution<'a> = operands::Convolution<'a, Slice, Slice>;
type WeightGradient<'a> = operands::WeightGradient<'a, Slice, Slice>;

impl Mapped<Slice> {
    fn map(&self) -> Map {
        Map { scale: self.scale.ptr, shift: self.shift.ptr }
    }

    fn is_aligned(&self) -> bool {
        self.values.is_aligned() && self.scale.is_aligned() && self.shift.is_aligned()
    }
}

/// Elements of scratch for a weight gradient.
pub(super) fn grad_weight_workspace_len(p: &Conv2dParams) -> usize {
    splits(p).max(halo_splits(p).unwrap_or(0)) * p.weight_len()
}

/// As [`splits`], of the tiles of the kernel that has all taps; None if it does not compute this shape.
fn halo_splits(p: &Conv2dParams) -> Option<usize> {
    let tiles = halo_tiles(p, Direction::Forward, FULL)?;
    let blocks = (p.c / p.groups).div_ceil(CHUNK) * (p.k / p.groups).div_ceil(HALO_OUTPUTS) * p.groups;
    Some(HALO_WEIGHT_BLOCKS.div_ceil(blocks).min(tiles).max(1))
}

/// How many splits a weight gradient's sum is cut into. They depend on the shape alone, not on the GPU: another number
/// would give other bits.
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
pub(super) fn grad_bias_workspace_len(rows: usize, channels: usize) -> usize {
    Columns::new(rows, channels, BIAS_ROWS).cells()
}

/// `y (+)= conv(x, w) + bias`, or `dx (+)= conv^T(dy, w) + bias`. On tensor cores, if their kernels are loaded and
/// there is one for the shape.
pub(super) fn convolve(gpu: &Gpu, convolution: &Convolution<'_>) {
    let Convolution { direction, params: p, ref input, w, bias, out, write } = *convolution;
    let (kernels, tf32) = (gpu.kernels::<Kernels>(), gpu.find::<tf32::Kernels>());
    let conv = CudaConv::new(p, direction, write);
    let pixels = conv.pixels as usize;
    let [group_in, group_out] = [conv.group_in, conv.group_out].map(|channels| channels as usize);
    let in_aligned = input.is_aligned();
    let [w_aligned, out_aligned] = [w, out].map(Slice::is_aligned);
    let pick = |forward, adjoint| match direction {
        Direction::Forward => forward,
        Direction::Adjoint => adjoint,
    };
    let (kernel, grid) = if p.groups == 1 && group_out == 1 && group_in.is_multiple_of(4) && in_aligned && w_aligned {
        let blocks = pixels.div_ceil(ONE_PIXELS * 256 / 8);
        (pick(&kernels.conv2d_forward_to_one, &kernels.conv2d_adjoint_to_one), [blocks, 1, 1])
    } else if p.groups == 1 && group_in == 1 && group_out.is_multiple_of(4) && w_aligned && out_aligned {
        let threads = group_out / 4 * pixels.div_ceil(ONE_PIXELS);
        (pick(&kernels.conv2d_forward_from_one, &kernels.conv2d_adjoint_from_one), [threads.div_ceil(256), 1, 1])
    } else {
        let wide = group_in.is_multiple_of(4) && group_out.is_multiple_of(4);
        let wide = wide && in_aligned && w_aligned && out_aligned;
        let near = conv.has_near_windows(direction);
        let halo = Halo::of(gpu);
        let full_enough = if halo.on_tensor_cores { FULL } else { FULL_IN_F32 };
        let tiles = halo_tiles(p, direction, full_enough).filter(|_| wide);
        let (kernel, columns) = match (wide, near, columns(group_out), tf32) {
            _ if tiles.is_some() => (halo.convolve(direction), HALO_OUTPUTS),
            (true, true, columns, Some(tf32)) => (tf32.convolve(direction, columns), columns),
            (true, true, 64, None) => (pick(&kernels.conv2d_forward_4x64, &kernels.conv2d_adjoint_4x64), 64),
            (true, true, _, None) => (pick(&kernels.conv2d_forward_4x32, &kernels.conv2d_adjoint_4x32), 32),
            (true, false, _, Some(tf32)) if direction == Direction::Adjoint => (tf32.any_adjoint(), 32),
            (true, false, _, None) if direction == Direction::Adjoint => (&kernels.conv2d_adjoint_any_4x32, 32),
            _ => (pick(&kernels.conv2d_forward_1x32, &kernels.conv2d_adjoint_1x32), 32),
        };
        (kernel, [tiles.unwrap_or(pixels.div_ceil(TILE_ROWS)), group_out.div_ceil(columns), p.groups])
    };
    // SAFETY: `Pass::check` has asserted the lengths against `p`, which is where all indices come from.
    unsafe { kernel.launch(&gpu.device, grid, (conv, input.map(), input.values.ptr, w.ptr, bias.ptr, out.ptr)) }
}

/// `dw (+)= x^T dy` for every tap; on tensor cores as [`convolve`].
pub(super) fn grad_weight(gpu: &Gpu, gradient: &WeightGradient<'_>, workspace: Slice) {
    let WeightGradient { params: p, ref x, ref dy, dw, write } = *gradient;
    let (kernels, tf32) = (gpu.kernels::<Kernels>(), gpu.find::<tf32::Kernels>());
    let mut conv = CudaConv::new(p, Direction::Forward, write);
    let [group_in, group_out] = [conv.group_in, conv.group_out].map(|channels| channels as usize);
    let taps = (conv.depth as usize).div_ceil(TILE_TAPS);
    let near = conv.has_near_windows(Direction::Forward);
    let x_wide = group_in.is_multiple_of(4) && x.is_aligned();
    let dy_wide = near && group_out.is_multiple_of(4) && dy.is_aligned();
    let halo_splits = halo_splits(p).filter(|_| x_wide && dy_wide && workspace.is_aligned());
    let splits = halo_splits.unwrap_or(splits(p));
    let partial = workspace.scratch(splits * dw.len).ptr;
    conv.split_pixels = (conv.pixels as usize).div_ceil(splits).next_multiple_of(DEPTH) as u32;
    let (kernel, rows, columns) = match (x_wide, dy_wide, columns(group_out), tf32) {
        _ if halo_splits.is_some() => (Halo::of(gpu).grad_weight, group_in.div_ceil(CHUNK), HALO_OUTPUTS),
        (true, true, columns, Some(tf32)) => (tf32.grad_weight(columns), taps, columns),
        (true, true, 64, None) => (&kernels.conv2d_weight_4x4x64, taps, 64),
        (true, true, _, None) => (&kernels.conv2d_weight_4x4x32, taps, 32),
        (false, true, _, _) => (&kernels.conv2d_weight_1x4x32, taps, 32),
        (_, false, _, _) => (&kernels.conv2d_weight_1x1x32, taps, 32),
    };
    let grid = [rows, group_out.div_ceil(columns), splits * p.groups];
    let (len, splits) = (dw.len as u32, splits as u32);
    // SAFETY: `Pass::check` has asserted the lengths against `p`, which is where all indices come from; the workspace
    // has a weight for each split.
    unsafe {
        kernel.launch(&gpu.device, grid, (conv, splits, x.map(), x.values.ptr, dy.map(), dy.values.ptr, partial));
        let grid = [dw.len.div_ceil(32), 1, 1];
        kernels.conv2d_sum_splits.launch(&gpu.device, grid, (len, splits, partial, dw.ptr, conv.add));
    }
}

/// `db (+)= sum of the rows of dy`
pub(super) fn grad_bias(gpu: &Gpu, dy: Slice, db: Slice, write: Write, workspace: Slice) {
    let kernels = gpu.kernels::<Kernels>();
    let columns = Columns::new(dy.len / db.len, db.len, BIAS_ROWS);
    let partial = workspace.scratch(columns.cells());
    // SAFETY: `columns` describes dy, whose last index is that of db; the workspace has a value for each of its chunks.
    unsafe { kernels.conv2d_bias_sums.launch(&gpu.device, columns.grid(), (columns, dy.ptr, partial.ptr)) }
    kernels.finish_bias(&gpu.device, columns, partial, db, write);
}

impl Kernels {
    /// `db (+)= sum of the chunks' sums`, of which `partial` has one for each.
    pub(crate) fn finish_bias(&self, device: &Device, columns: Columns, partial: Slice, db: Slice, write: Write) {
        let partial = partial.scratch(columns.cells());
        let add = u32::from(write == Write::Add);
        // SAFETY: `db` has as many elements as `columns` has channels, `partial` one for each chunk.
        unsafe { self.conv2d_bias.launch(device, columns.grid_of_channels(), (columns, partial.ptr, db.ptr, add)) }
    }
}
