//! The inner loops of a correlation: a register block of output pixels by output channels.
//!
//! **Wide outputs** ([`RegisterBlock`]): channels are the lanes. A block of `PIXELS x VECTORS` accumulators stays in
//! registers over the whole reduction. A step loads `VECTORS` vectors of weights, which were packed in the order of
//! their use, and one value of the input for every pixel, in all lanes:
//!
//! ```text
//! for tap row, for (tap column, input channel):      contiguous in the input, as activations are channels-last
//!     w[v]        = load, for every vector           VECTORS registers
//!     a           = splat(input of pixel i)          1 register
//!     sum[i][v]  += a w[v]                           PIXELS * VECTORS registers
//! ```
//!
//! Two fused multiply-adds can start in a cycle and take four, so 8 independent ones are the least (4 with AVX-512,
//! whose vectors this project's machines execute in two halves). `PIXELS * VECTORS` of them against `PIXELS + VECTORS`
//! loads keep the load units from being the limit. 16 registers hold 6 x 2 accumulators, 2 weights and the input; 32
//! hold 14 x 2. A row of pixels is cut into blocks that differ by one pixel at most.
//!
//! **Narrow outputs** ([`NarrowRegisterBlock`]): with one to four output channels nearly all lanes would idle, so here
//! the lanes are the reduction. Input and weights are both vectors, and each accumulator is summed at the end.
//!
//! The blocks are called through [`Simd::outline`]: inlined into their caller, accumulators were spilled. They also
//! were where a loop over them was not unrolled. So the end of a block has one short loop that is unrolled, and goes by
//! way of memory if channels do not fill vectors or are added to. Tried and dropped: four steps of the reduction at a
//! time, which share the addresses of the pixels. That gained nothing, as the loop is bound by the multiply-adds.

use super::plan::MAX_NARROW;
use crate::ops::conv2d::cpu::registers::{balanced, max_sums};
use crate::simd::{Isa, Kernel, Simd};
use std::array::from_fn;
use std::mem::MaybeUninit;

/// The operands of a row of register blocks, all of the same panel of output channels.
#[derive(Clone, Copy)]
pub(super) struct RowOperands {
    /// Input of the first pixel's first tap.
    pub(super) input: *const f32,
    /// From an input row to the next.
    pub(super) input_row: usize,
    /// From an output pixel's input to that of the next.
    pub(super) input_pixel: usize,
    /// Rows of taps.
    pub(super) rows: usize,
    /// Products of a row of taps: tap columns times input channels.
    pub(super) depth: usize,
    /// Weights of the panel's channels: packed as [`super::pack`] does it, or where they are.
    pub(super) weight: *const f32,
    /// From those of an input channel of a tap to the next. Of narrow rows, it is 1.
    pub(super) weight_step: usize,
    /// From those of a row of taps to the next.
    pub(super) weight_row: usize,
    /// Bias of the panel's channels, of whole vectors.
    pub(super) bias: *const f32,
    /// The panel's first channel of the first output pixel.
    pub(super) out: *mut f32,
    /// From an output pixel to the next.
    pub(super) out_pixel: usize,
    /// Output channels of the panel.
    pub(super) channels: usize,
    /// Whether to add to the output.
    pub(super) add: bool,
}

/// Most pixels of a block; more than 14 of one vector would gain nothing.
const fn max_pixels(isa: Isa, vectors: usize) -> usize {
    let pixels = max_sums(isa) / vectors;
    if pixels < 14 { pixels } else { 14 }
}

/// Most pixels of a narrow block; 8 accumulators hide the latency.
const fn max_narrow_pixels(isa: Isa, channels: usize) -> usize {
    let sums = if max_sums(isa) < 12 { max_sums(isa) } else { 12 };
    let pixels = sums / channels;
    if pixels < 8 { pixels } else { 8 }
}

/// Computes `pixels` output pixels in a row, for 1 or 2 vectors of channels.
///
/// # Safety
/// Every pointer must be valid for what [`RowOperands`] describes, for all `pixels`; the weight and the bias for whole
/// vectors.
#[inline(always)]
pub(super) unsafe fn run_row<S: Simd>(s: S, o: RowOperands, pixels: usize) {
    let vectors = o.channels.div_ceil(S::LANES);
    let mut o = o;
    for (size, count) in balanced(pixels, max_pixels(S::ISA, vectors)) {
        if count > 0 {
            // SAFETY: the caller's duty.
            unsafe {
                match vectors {
                    1 => run_blocks::<S, 1>(s, o, size, count),
                    _ => run_blocks::<S, 2>(s, o, size, count),
                }
            }
            o.input = o.input.wrapping_add(size * count * o.input_pixel);
            o.out = o.out.wrapping_add(size * count * o.out_pixel);
        }
    }
}

/// # Safety
/// As [`run_row`].
#[inline(always)]
unsafe fn run_blocks<S: Simd, const VECTORS: usize>(s: S, o: RowOperands, size: usize, count: usize) {
    match size {
        1 => s.outline(RegisterBlock::<1, VECTORS> { o, count }),
        2 => s.outline(RegisterBlock::<2, VECTORS> { o, count }),
        3 => s.outline(RegisterBlock::<3, VECTORS> { o, count }),
        4 => s.outline(RegisterBlock::<4, VECTORS> { o, count }),
        5 => s.outline(RegisterBlock::<5, VECTORS> { o, count }),
        6 => s.outline(RegisterBlock::<6, VECTORS> { o, count }),
        7 => s.outline(RegisterBlock::<7, VECTORS> { o, count }),
        8 => s.outline(RegisterBlock::<8, VECTORS> { o, count }),
        9 => s.outline(RegisterBlock::<9, VECTORS> { o, count }),
        10 => s.outline(RegisterBlock::<10, VECTORS> { o, count }),
        11 => s.outline(RegisterBlock::<11, VECTORS> { o, count }),
        12 => s.outline(RegisterBlock::<12, VECTORS> { o, count }),
        13 => s.outline(RegisterBlock::<13, VECTORS> { o, count }),
        14 => s.outline(RegisterBlock::<14, VECTORS> { o, count }),
        _ => unreachable!("no block has {size} pixels"),
    }
}

/// `count` blocks one after the other. Its operands are valid: only [`run_row`] makes one.
struct RegisterBlock<const PIXELS: usize, const VECTORS: usize> {
    o: RowOperands,
    count: usize,
}

impl<const PIXELS: usize, const VECTORS: usize> Kernel for RegisterBlock<PIXELS, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(PIXELS * VECTORS <= max_sums(S::ISA), "the accumulators fit the registers");
        let RegisterBlock { o, count } = self;
        for block in 0..count {
            // SAFETY: the caller of `run_row` promised that the operands are valid for every pixel.
            unsafe {
                let input = o.input.add(block * PIXELS * o.input_pixel);
                let out = o.out.add(block * PIXELS * o.out_pixel);
                let bias: [S::F32; VECTORS] = from_fn(|v| s.load(o.bias.add(v * S::LANES)));
                let mut sums = [bias; PIXELS];
                for row in 0..o.rows {
                    let input = input.add(row * o.input_row);
                    let mut weight = o.weight.add(row * o.weight_row);
                    for i in 0..o.depth {
                        let w: [S::F32; VECTORS] = from_fn(|v| s.load(weight.add(v * S::LANES)));
                        weight = weight.wrapping_add(o.weight_step);
                        for (pixel, sums) in sums.iter_mut().enumerate() {
                            let a = s.splat(*input.add(pixel * o.input_pixel + i));
                            for (sum, w) in sums.iter_mut().zip(&w) {
                                *sum = s.mul_add(a, *w, *sum);
                            }
                        }
                    }
                }
                if o.channels == VECTORS * S::LANES && !o.add {
                    for (pixel, sums) in sums.iter().enumerate() {
                        for (v, sum) in sums.iter().enumerate() {
                            s.store(out.add(pixel * o.out_pixel + v * S::LANES), *sum);
                        }
                    }
                } else {
                    // By way of memory, so that the loop above is the only one that the accumulators' registers depend
                    // on.
                    let mut copy = [[MaybeUninit::<S::F32>::uninit(); VECTORS]; PIXELS];
                    for (copy, sums) in copy.iter_mut().zip(&sums) {
                        for (copy, sum) in copy.iter_mut().zip(sums) {
                            copy.write(*sum);
                        }
                    }
                    for (pixel, copy) in copy.iter().enumerate() {
                        finish_pixel(s, &o, out.add(pixel * o.out_pixel), copy.as_ptr().cast());
                    }
                }
            }
        }
    }
}

/// Writes or adds the channels of a pixel.
///
/// # Safety
/// `out` must be valid for the channels, `sums` for whole vectors.
#[inline(always)]
unsafe fn finish_pixel<S: Simd>(s: S, o: &RowOperands, out: *mut f32, sums: *const f32) {
    for start in (0..o.channels).step_by(S::LANES) {
        let lanes = S::LANES.min(o.channels - start);
        // SAFETY: the caller's duty.
        unsafe {
            let (out, mut sum) = (out.add(start), s.load(sums.add(start)));
            if o.add {
                sum = s.add(s.load_partial(out, lanes), sum);
            }
            s.store_partial(out, sum, lanes);
        }
    }
}

/// Computes `pixels` output pixels in a row, for 1 to [`MAX_NARROW`] channels.
///
/// # Safety
/// Every pointer must be valid for what [`RowOperands`] describes, for all `pixels`; the weight for rows of whole
/// vectors.
#[inline(always)]
pub(super) unsafe fn run_narrow_row<S: Simd>(s: S, o: RowOperands, pixels: usize) {
    const { assert!(MAX_NARROW == 4) };
    let mut o = o;
    for (size, count) in balanced(pixels, max_narrow_pixels(S::ISA, o.channels)) {
        if count > 0 {
            match (o.channels, size) {
                (1, 1) => s.outline(NarrowRegisterBlock::<1, 1> { o, count }),
                (1, 2) => s.outline(NarrowRegisterBlock::<2, 1> { o, count }),
                (1, 3) => s.outline(NarrowRegisterBlock::<3, 1> { o, count }),
                (1, 4) => s.outline(NarrowRegisterBlock::<4, 1> { o, count }),
                (1, 5) => s.outline(NarrowRegisterBlock::<5, 1> { o, count }),
                (1, 6) => s.outline(NarrowRegisterBlock::<6, 1> { o, count }),
                (1, 7) => s.outline(NarrowRegisterBlock::<7, 1> { o, count }),
                (1, 8) => s.outline(NarrowRegisterBlock::<8, 1> { o, count }),
                (2, 1) => s.outline(NarrowRegisterBlock::<1, 2> { o, count }),
                (2, 2) => s.outline(NarrowRegisterBlock::<2, 2> { o, count }),
                (2, 3) => s.outline(NarrowRegisterBlock::<3, 2> { o, count }),
                (2, 4) => s.outline(NarrowRegisterBlock::<4, 2> { o, count }),
                (2, 5) => s.outline(NarrowRegisterBlock::<5, 2> { o, count }),
                (2, 6) => s.outline(NarrowRegisterBlock::<6, 2> { o, count }),
                (3, 1) => s.outline(NarrowRegisterBlock::<1, 3> { o, count }),
                (3, 2) => s.outline(NarrowRegisterBlock::<2, 3> { o, count }),
                (3, 3) => s.outline(NarrowRegisterBlock::<3, 3> { o, count }),
                (3, 4) => s.outline(NarrowRegisterBlock::<4, 3> { o, count }),
                (4, 1) => s.outline(NarrowRegisterBlock::<1, 4> { o, count }),
                (4, 2) => s.outline(NarrowRegisterBlock::<2, 4> { o, count }),
                (4, 3) => s.outline(NarrowRegisterBlock::<3, 4> { o, count }),
                (channels, _) => unreachable!("no narrow block has {size} pixels of {channels} channels"),
            }
            o.input = o.input.wrapping_add(size * count * o.input_pixel);
            o.out = o.out.wrapping_add(size * count * o.out_pixel);
        }
    }
}

/// `count` narrow blocks one after the other. Its operands are valid: only [`run_narrow_row`] makes one.
struct NarrowRegisterBlock<const PIXELS: usize, const CHANNELS: usize> {
    o: RowOperands,
    count: usize,
}

impl<const PIXELS: usize, const CHANNELS: usize> Kernel for NarrowRegisterBlock<PIXELS, CHANNELS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(PIXELS * CHANNELS <= max_sums(S::ISA), "the accumulators fit the registers");
        let NarrowRegisterBlock { o, count } = self;
        let padded_depth = o.depth.next_multiple_of(S::LANES);
        let whole = o.depth / S::LANES * S::LANES;
        for block in 0..count {
            // SAFETY: the caller of `run_narrow_row` promised that the operands are valid for every pixel.
            unsafe {
                let input = o.input.add(block * PIXELS * o.input_pixel);
                let out = o.out.add(block * PIXELS * o.out_pixel);
                let mut sums = [[s.splat(0.0); CHANNELS]; PIXELS];
                for row in 0..o.rows {
                    let input = input.add(row * o.input_row);
                    let weight = o.weight.add(row * o.weight_row);
                    for i in (0..whole).step_by(S::LANES) {
                        let w: [S::F32; CHANNELS] = from_fn(|k| s.load(weight.add(k * padded_depth + i)));
                        for (pixel, sums) in sums.iter_mut().enumerate() {
                            let a = s.load(input.add(pixel * o.input_pixel + i));
                            for (sum, w) in sums.iter_mut().zip(&w) {
                                *sum = s.mul_add(a, *w, *sum);
                            }
                        }
                    }
                    if whole < o.depth {
                        for (pixel, sums) in sums.iter_mut().enumerate() {
                            // Not a whole vector: what lies behind may be NaN or infinite, and 0 times that is not 0.
                            let a = s.load_partial(input.add(pixel * o.input_pixel + whole), o.depth - whole);
                            for (k, sum) in sums.iter_mut().enumerate() {
                                let w = s.load(weight.add(k * padded_depth + whole));
                                *sum = s.mul_add(a, w, *sum);
                            }
                        }
                    }
                }
                for (pixel, sums) in sums.iter().enumerate() {
                    for (k, &sum) in sums.iter().enumerate() {
                        let out = out.add(pixel * o.out_pixel + k);
                        let sum = s.sum(sum) + *o.bias.add(k);
                        *out = if o.add { *out + sum } else { sum };
                    }
                }
            }
        }
    }
}
