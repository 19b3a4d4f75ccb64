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

impl CudaConv {
    pub(super) fn new(p: &Conv2dParams, direction: Direction, write: Write) -> CudaConv {
        // Rows and columns of windows are 16-bit numbers.
        let extent = |size: usize, pad: usize, taps: usize| size + 2 * pad + taps;
        let largest = extent(p.h, p.pad_h, p.r).max(extent(p.w, p.pad_w, p.s));
        assert!(largest < 1 << 15, "{p:?}: the CUDA kernels take images of up to 32767 pixels a side, with padding");
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
