//! The inner loops: blocks of outputs, and of taps, by vectors of channels.
//!
//! ```text
//! outputs   for every tap:    w[v]  = load; sum[i][v] += input of pixel i [v] * w[v]       for PIXELS pixels
//! taps      for every pixel:  dy[v] = load; sum[t][v] += input of tap t [v] * dy[v]        for TAPS taps
//! ```
//!
//! The sums are in registers, and the blocks are called through [`Simd::outline`] so that they stay there. The channels
//! of a block are one, two or four whole vectors, or one that is not whole. The more vectors, the fewer calls, and the
//! more of a single output's sums are independent; taps have two at most, as then more of them share a load of `dy`.

use crate::ops::conv2d::cpu::registers::{balanced, max_sums};
use crate::simd::{Isa, Kernel, Simd};
use std::array::from_fn;

/// Most pixels or taps of a block; more would gain nothing.
const fn max_size(isa: Isa, vectors: usize) -> usize {
    let size = max_sums(isa) / vectors;
    if size < 8 { size } else { 8 }
}

/// The channels of a block.
#[derive(Clone, Copy)]
pub(super) enum Channels {
    /// Four vectors.
    Four,
    /// Two vectors.
    Two,
    /// One vector.
    One,
    /// So many lanes of a vector.
    Part(usize),
}

impl Channels {
    /// Those of `count` channels that come first, in so many vectors at most, and how many they are.
    #[inline(always)]
    pub(super) fn first(count: usize, lanes: usize, most: usize) -> (Channels, usize) {
        if most >= 4 && count >= 4 * lanes {
            (Channels::Four, 4 * lanes)
        } else if count >= 2 * lanes {
            (Channels::Two, 2 * lanes)
        } else if count >= lanes {
            (Channels::One, lanes)
        } else {
            (Channels::Part(count), count)
        }
    }
}

/// Runs the kernel out of line, for the channels and a size of 1 to 8.
macro_rules! outline {
    ($s:expr, $size:expr, $channels:expr, $kernel:ident { $($fields:tt)* }) => {
        match ($size, $channels) {
            (1, Channels::Four) => $s.outline($kernel::<1, 4, false> { lanes: S::LANES, $($fields)* }),
            (2, Channels::Four) => $s.outline($kernel::<2, 4, false> { lanes: S::LANES, $($fields)* }),
            (3, Channels::Four) => $s.outline($kernel::<3, 4, false> { lanes: S::LANES, $($fields)* }),
            (4, Channels::Four) => $s.outline($kernel::<4, 4, false> { lanes: S::LANES, $($fields)* }),
            (5, Channels::Four) => $s.outline($kernel::<5, 4, false> { lanes: S::LANES, $($fields)* }),
            (6, Channels::Four) => $s.outline($kernel::<6, 4, false> { lanes: S::LANES, $($fields)* }),
            (7, Channels::Four) => $s.outline($kernel::<7, 4, false> { lanes: S::LANES, $($fields)* }),
            (1, Channels::Two) => $s.outline($kernel::<1, 2, false> { lanes: S::LANES, $($fields)* }),
            (2, Channels::Two) => $s.outline($kernel::<2, 2, false> { lanes: S::LANES, $($fields)* }),
            (3, Channels::Two) => $s.outline($kernel::<3, 2, false> { lanes: S::LANES, $($fields)* }),
            (4, Channels::Two) => $s.outline($kernel::<4, 2, false> { lanes: S::LANES, $($fields)* }),
            (5, Channels::Two) => $s.outline($kernel::<5, 2, false> { lanes: S::LANES, $($fields)* }),
            (6, Channels::Two) => $s.outline($kernel::<6, 2, false> { lanes: S::LANES, $($fields)* }),
            (7, Channels::Two) => $s.outline($kernel::<7, 2, false> { lanes: S::LANES, $($fields)* }),
            (8, Channels::Two) => $s.outline($kernel::<8, 2, false> { lanes: S::LANES, $($fields)* }),
            (1, Channels::One) => $s.outline($kernel::<1, 1, false> { lanes: S::LANES, $($fields)* }),
            (2, Channels::One) => $s.outline($kernel::<2, 1, false> { lanes: S::LANES, $($fields)* }),
            (3, Channels::One) => $s.outline($kernel::<3, 1, false> { lanes: S::LANES, $($fields)* }),
            (4, Channels::One) => $s.outline($kernel::<4, 1, false> { lanes: S::LANES, $($fields)* }),
            (5, Channels::One) => $s.outline($kernel::<5, 1, false> { lanes: S::LANES, $($fields)* }),
            (6, Channels::One) => $s.outline($kernel::<6, 1, false> { lanes: S::LANES, $($fields)* }),
            (7, Channels::One) => $s.outline($kernel::<7, 1, false> { lanes: S::LANES, $($fields)* }),
            (8, Channels::One) => $s.outline($kernel::<8, 1, false> { lanes: S::LANES, $($fields)* }),
            (1, Channels::Part(lanes)) => $s.outline($kernel::<1, 1, true> { lanes, $($fields)* }),
            (2, Channels::Part(lanes)) => $s.outline($kernel::<2, 1, true> { lanes, $($fields)* }),
            (3, Channels::Part(lanes)) => $s.outline($kernel::<3, 1, true> { lanes, $($fields)* }),
            (4, Channels::Part(lanes)) => $s.outline($kernel::<4, 1, true> { lanes, $($fields)* }),
            (5, Channels::Part(lanes)) => $s.outline($kernel::<5, 1, true> { lanes, $($fields)* }),
            (6, Channels::Part(lanes)) => $s.outline($kernel::<6, 1, true> { lanes, $($fields)* }),
            (7, Channels::Part(lanes)) => $s.outline($kernel::<7, 1, true> { lanes, $($fields)* }),
            (8, Channels::Part(lanes)) => $s.outline($kernel::<8, 1, true> { lanes, $($fields)* }),
            (size, _) => unreachable!("no block has a size of {size}"),
        }
    };
}

impl Channels {
    fn vectors(self) -> usize {
        match self {
            Channels::Four => 4,
            Channels::Two => 2,
            Channels::One | Channels::Part(_) => 1,
        }
    }
}

/// The vector at `ptr`, or its first `lanes`.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn load<S: Simd, const PARTIAL: bool>(s: S, ptr: *const f32, lanes: usize) -> S::F32 {
    // SAFETY: the caller's duty.
    unsafe { if PARTIAL { s.load_partial(ptr, lanes) } else { s.load(ptr) } }
}

/// Writes the vector to `ptr`, or its first `lanes`, added to what is there if `add`.
///
/// # Safety
/// They must be writable.
#[inline(always)]
unsafe fn put<S: Simd, const PARTIAL: bool>(s: S, ptr: *mut f32, lanes: usize, value: S::F32, add: bool) {
    // SAFETY: the caller's duty.
    unsafe {
        let value = if add { s.add(load::<S, PARTIAL>(s, ptr, lanes), value) } else { value };
        if PARTIAL { s.store_partial(ptr, value, lanes) } else { s.store(ptr, value) }
    }
}

/// The operands of neighbouring outputs that multiply the same taps.
#[derive(Clone, Copy)]
pub(super) struct OutputOperands {
    /// What the first tap of the first output reads.
    pub(super) input: *const f32,
    /// From a row of the input to the next, from what a tap reads to what the next one does, and from an output's input
    /// to that of the next.
    pub(super) input_row: usize,
    pub(super) input_tap: usize,
    pub(super) input_pixel: usize,
    /// Rows and columns of taps.
    pub(super) taps: [usize; 2],
    /// Weight of the first tap.
    pub(super) weight: *const f32,
    /// From a row of taps to the next, and from a tap to the next.
    pub(super) weight_row: isize,
    pub(super) weight_tap: isize,
    /// Null if there is none.
    pub(super) bias: *const f32,
    pub(super) out: *mut f32,
    /// From an output to the next.
    pub(super) out_pixel: usize,
    /// Whether to add to the output.
    pub(super) add: bool,
}

/// Computes so many outputs.
///
/// # Safety
/// Every pointer must be valid for what [`OutputOperands`] describes, for all outputs and channels.
#[inline(always)]
pub(super) unsafe fn run_outputs<S: Simd>(s: S, mut o: OutputOperands, outputs: usize, channels: Channels) {
    if outputs == 1 {
        outline!(s, 1, channels, OutputBlocks { o, count: 1 });
        return;
    }
    for (size, count) in balanced(outputs, max_size(S::ISA, channels.vectors())) {
        if count > 0 {
            outline!(s, size, channels, OutputBlocks { o, count });
            o.input = o.input.wrapping_add(size * count * o.input_pixel);
            o.out = o.out.wrapping_add(size * count * o.out_pixel);
        }
    }
}

/// `count` blocks one after the other. Its operands are valid: only [`run_outputs`] makes one.
struct OutputBlocks<const PIXELS: usize, const VECTORS: usize, const PARTIAL: bool> {
    o: OutputOperands,
    count: usize,
    lanes: usize,
}

impl<const PIXELS: usize, const VECTORS: usize, const PARTIAL: bool> Kernel for OutputBlocks<PIXELS, VECTORS, PARTIAL> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(PIXELS * VECTORS <= max_sums(S::ISA), "the accumulators fit the registers");
        let OutputBlocks { o, count, lanes } = self;
        for block in 0..count {
            // SAFETY: the caller of `run_outputs` promised that the operands are valid for every output.
            unsafe {
                let first = block * PIXELS;
                let bias: [S::F32; VECTORS] = from_fn(|v| match o.bias.is_null() {
                    true => s.splat(0.0),
                    false => load::<S, PARTIAL>(s, o.bias.add(v * S::LANES), lanes),
                });
                let mut sums = [bias; PIXELS];
                for row in 0..o.taps[0] {
                    let mut input = o.input.add(first * o.input_pixel + row * o.input_row);
                    let mut weight = o.weight.wrapping_offset(row as isize * o.weight_row);
                    for _ in 0..o.taps[1] {
                        let w: [S::F32; VECTORS] = from_fn(|v| load::<S, PARTIAL>(s, weight.add(v * S::LANES), lanes));
                        for (pixel, sums) in sums.iter_mut().enumerate() {
                            for (v, sum) in sums.iter_mut().enumerate() {
                                let x = input.add(pixel * o.input_pixel + v * S::LANES);
                                *sum = s.mul_add(load::<S, PARTIAL>(s, x, lanes), w[v], *sum);
                            }
                        }
                        (input, weight) = (input.wrapping_add(o.input_tap), weight.wrapping_offset(o.weight_tap));
                    }
                }
                for (pixel, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let out = o.out.add((first + pixel) * o.out_pixel + v * S::LANES);
                        put::<S, PARTIAL>(s, out, lanes, *sum, o.add);
                    }
                }
            }
        }
    }
}

/// The operands of neighbouring taps that meet the same outputs.
#[derive(Clone, Copy)]
pub(super) struct TapOperands {
    /// What the first tap of the first output reads.
    pub(super) input: *const f32,
    /// From an output's input to that of the one below, to that of the next, and from what a tap reads to what the next
    /// one does.
    pub(super) input_row: usize,
    pub(super) input_pixel: usize,
    pub(super) input_tap: usize,
    /// Gradient of the first output.
    pub(super) dy: *const f32,
    pub(super) dy_row: usize,
    pub(super) dy_pixel: usize,
    /// Rows and columns of outputs.
    pub(super) outputs: [usize; 2],
    /// Sum of the first tap, added to.
    pub(super) sums: *mut f32,
    /// From a tap's sum to the next.
    pub(super) sums_tap: usize,
}

/// Adds up so many taps.
///
/// # Safety
/// Every pointer must be valid for what [`TapOperands`] describes, for all taps and channels.
#[inline(always)]
pub(super) unsafe fn run_taps<S: Simd>(s: S, o: TapOperands, taps: usize, channels: Channels) {
    outline!(s, taps, channels, TapBlock { o });
}

/// Most taps of [`run_taps`].
#[inline(always)]
pub(super) fn max_taps<S: Simd>(channels: Channels) -> usize {
    max_size(S::ISA, channels.vectors())
}

/// Its operands are valid: only [`run_taps`] makes one.
struct TapBlock<const TAPS: usize, const VECTORS: usize, const PARTIAL: bool> {
    o: TapOperands,
    lanes: usize,
}

impl<const TAPS: usize, const VECTORS: usize, const PARTIAL: bool> Kernel for TapBlock<TAPS, VECTORS, PARTIAL> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(TAPS * VECTORS <= max_sums(S::ISA), "the accumulators fit the registers");
        let TapBlock { o, lanes } = self;
        let mut sums = [[s.splat(0.0); VECTORS]; TAPS];
        // SAFETY: the caller of `run_taps` promised that the operands are valid.
        unsafe {
            for row in 0..o.outputs[0] {
                let (mut input, mut dy) = (o.input.add(row * o.input_row), o.dy.add(row * o.dy_row));
                for _ in 0..o.outputs[1] {
                    let g: [S::F32; VECTORS] = from_fn(|v| load::<S, PARTIAL>(s, dy.add(v * S::LANES), lanes));
                    for (tap, sums) in sums.iter_mut().enumerate() {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            let x = input.add(tap * o.input_tap + v * S::LANES);
                            *sum = s.mul_add(load::<S, PARTIAL>(s, x, lanes), g[v], *sum);
                        }
                    }
                    (input, dy) = (input.wrapping_add(o.input_pixel), dy.wrapping_add(o.dy_pixel));
                }
            }
            for (tap, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    put::<S, PARTIAL>(s, o.sums.add(tap * o.sums_tap + v * S::LANES), lanes, *sum, true);
                }
            }
        }
    }
}
