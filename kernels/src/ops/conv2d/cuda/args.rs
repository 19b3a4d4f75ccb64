//! What the convolution kernels take by value.

use crate::gpu::{Arg, Ptr};
use crate::ops::conv2d::params::{Conv2dParams, Direction};
use crate::pass::Write;

/// `Conv` in conv2d.cuh: a [`Conv2dParams`] in 32 bits, as one of its two directions sees it, and what else a kernel
/// must know. Its fields are others than those of `Conv2dParams`, so it has another name.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct CudaConv {
    pub(super) pixels: u32,
    out_h: u32,
    out_w: u32,
    out_channels: u32,
    in_h: u32,
    in_w: u32,
    in_channels: u32,
    pub(super) group_in: u32,
    pub(super) group_out: u32,
    r: u32,
    s: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
    pub(super) depth: u32,
    weight_stride: u32,
    pub(super) split_pixels: u32,
    pub(super) add: u32,
}

// SAFETY: `Conv` in conv2d.cuh has the same fields.
unsafe impl Arg for CudaConv {}

/// `Map` in conv2d.cuh: an affine map of channels; no addresses if there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Map {
    pub(super) scale: Ptr,
    pub(super) shift: Ptr,
}

// SAFETY: `Map` in conv2d.cuh has the same fields.
unsafe impl Arg for Map {}

/// Rows or columns of an image with its padding and a kernel, which must be fewer: those of windows are numbers of 16
/// bits.
const LARGEST_EXTENT: usize = 1 << 15;

/// Taps in one direction that `NearWindow` in conv2d.cuh has bits for.
const NEAR_TAPS: u32 = 15;

/// Pixels of a halo's tile in halo.cuh.
const HALO_ROWS: usize = 8;
const HALO_COLUMNS: usize = 16;

/// Groups that a grid has places for.
const MOST_GROUPS: usize = 65_535;

/// Why the kernels cannot compute a convolution, if a size is larger than they count.
pub(in crate::ops::conv2d) fn limit(p: &Conv2dParams) -> Option<String> {
    let extent = |size: usize, pad: usize, taps: usize| (size + 2 * pad).saturating_add(taps);
    let largest = extent(p.h, p.pad_h, p.r).max(extent(p.w, p.pad_w, p.s));
    if largest >= LARGEST_EXTENT {
        return Some(format!(
            "a side of the image, its padding at both ends and the kernel have {largest} pixels together, and CUDA \
             kernels count to {}",
            LARGEST_EXTENT - 1
        ));
    }
    (p.groups > MOST_GROUPS).then(|| format!("{} groups, and CUDA kernels count to {MOST_GROUPS}", p.groups))
}

/// Tiles of all images for the kernels that keep what a tile reads in shared memory. None if it is not 3x3 of stride 1,
/// or if fewer pixels than `percent` of the tiles' are in an image: those others cost as much.
pub(super) fn halo_tiles(p: &Conv2dParams, direction: Direction, percent: usize) -> Option<usize> {
    let [_, [height, width, _]] = p.images(direction);
    let tiles = height.div_ceil(HALO_ROWS) * width.div_ceil(HALO_COLUMNS);
    let is_full = 100 * height * width >= percent * tiles * HALO_ROWS * HALO_COLUMNS;
    let is_near = [p.r, p.s] == [3; 2] && [p.stride_h, p.stride_w] == [1; 2];
    (is_near && is_full).then_some(p.n * tiles)
}

impl CudaConv {
    pub(super) fn new(p: &Conv2dParams, direction: Direction, write: Write) -> CudaConv {
        assert_eq!(limit(p), None, "{p:?}");
        // Any stride that is larger than an image has one window only, which begins in row 0.
        let stride = |stride: usize| stride.min(LARGEST_EXTENT) as u32;
        let [[in_h, in_w, in_channels], [out_h, out_w, out_channels]] = p.images(direction);
        let group_in = in_channels / p.groups;
        CudaConv {
            pixels: (p.n * out_h * out_w) as u32,
            out_h: out_h as u32,
            out_w: out_w as u32,
            out_channels: out_channels as u32,
            in_h: in_h as u32,
            in_w: in_w as u32,
            in_channels: in_channels as u32,
            group_in: group_in as u32,
            group_out: (out_channels / p.groups) as u32,
            r: p.r as u32,
            s: p.s as u32,
            stride_h: stride(p.stride_h),
            stride_w: stride(p.stride_w),
            pad_h: p.pad_h as u32,
            pad_w: p.pad_w as u32,
            depth: (p.r * p.s * group_in) as u32,
            weight_stride: p.k as u32,
            split_pixels: 0,
            add: u32::from(write == Write::Add),
        }
    }

    /// Whether kernels that need a `NearWindow` can compute it.
    pub(super) fn has_near_windows(&self, direction: Direction) -> bool {
        let is_linear = direction == Direction::Forward || [self.stride_h, self.stride_w] == [1; 2];
        is_linear && self.r.max(self.s) <= NEAR_TAPS
    }
}
