//! The inner loop of the weight gradient: a sum of outer products over the pixels of a strip.
//!
//! ```text
//! for every pixel:
//!     b[v]        = load, for every vector           VECTORS registers
//!     a           = splat(a[i]), for every row       1 register
//!     sum[i][v]  += a b[v]                           ROWS * VECTORS registers
//! ```
//!
//! The vectors are output channels, and the rows the values of the input that a row of taps meets:
//! `[tap column][channel]`, contiguous. There are as many registers as for [`register_block`](super::register_block).
//! With one to four output channels the two change places: the vectors are the values of the input, and the rows the
//! output channels.
//!
//! All pixels of a strip are summed in registers, and only then added to the sums in memory. So a strip must have
//! enough pixels to hide that, and few enough to stay in the cache while all register blocks of the weight go over it.

use crate::ops::conv2d::cpu::registers::{balanced, max_sums};
use crate::simd::{Isa, Kernel, Simd};
use std::array::from_fn;

/// The operands of a register block.
#[derive(Clone, Copy)]
pub(super) struct OuterOperands {
    /// The first row's value of the first pixel.
    pub(super) a: *const f32,
    /// From an image to the next.
    pub(super) a_image: usize,
    /// From a row of pixels to the next.
    pub(super) a_row: usize,
    /// From a pixel to the next.
    pub(super) a_pixel: usize,
    /// The vectors of the first pixel.
    pub(super) b: *const f32,
    /// From an image to the next.
    pub(super) b_image: usize,
    /// From a row of pixels to the next.
    pub(super) b_row: usize,
    /// From a pixel to the next.
    pub(super) b_pixel: usize,
    /// Images, and rows and columns of pixels of each.
    pub(super) pixels: [usize; 3],
    /// The first row's sums.
    pub(super) sums: *mut f32,
    /// From a row's sums to the next.
    pub(super) sums_row: usize,
    /// Whether to add to the sums.
    pub(super) add: bool,
}

/// Most rows of a block; more than 14 of one vector would gain nothing.
const fn max_rows(isa: Isa, vectors: usize) -> usize {
    let rows = max_sums(isa) / vectors;
    if rows < 14 { rows } else { 14 }
}

/// Most vectors of a narrow block; 12 accumulators hide the latency.
const fn max_narrow_vectors(isa: Isa, rows: usize) -> usize {
    if max_sums(isa) < 12 { max_sums(isa) / rows } else { 12 / rows }
}

/// Adds up blocks of `rows` rows in all and 1 or 2 vectors.
///
/// # Safety
/// Every pointer must be valid for what [`OuterOperands`] describes, for all rows.
#[inline(always)]
pub(super) unsafe fn run_rows<S: Simd>(s: S, o: OuterOperands, rows: usize, vectors: usize) {
    let mut o = o;
    for (size, count) in balanced(rows, max_rows(S::ISA, vectors)) {
        for _ in 0..count {
            // SAFETY: the caller's duty.
            unsafe {
                match vectors {
                    1 => run_block::<S, 1>(s, o, size),
                    _ => run_block::<S, 2>(s, o, size),
                }
            }
            o.a = o.a.wrapping_add(size);
            o.sums = o.sums.wrapping_add(size * o.sums_row);
        }
    }
}

/// # Safety
/// As [`run_rows`].
#[inline(always)]
unsafe fn run_block<S: Simd, const VECTORS: usize>(s: S, o: OuterOperands, rows: usize) {
    match rows {
        1 => s.outline(RegisterBlock::<1, VECTORS>(o)),
        2 => s.outline(RegisterBlock::<2, VECTORS>(o)),
        3 => s.outline(RegisterBlock::<3, VECTORS>(o)),
        4 => s.outline(RegisterBlock::<4, VECTORS>(o)),
        5 => s.outline(RegisterBlock::<5, VECTORS>(o)),
        6 => s.outline(RegisterBlock::<6, VECTORS>(o)),
        7 => s.outline(RegisterBlock::<7, VECTORS>(o)),
        8 => s.outline(RegisterBlock::<8, VECTORS>(o)),
        9 => s.outline(RegisterBlock::<9, VECTORS>(o)),
        10 => s.outline(RegisterBlock::<10, VECTORS>(o)),
        11 => s.outline(RegisterBlock::<11, VECTORS>(o)),
        12 => s.outline(RegisterBlock::<12, VECTORS>(o)),
        13 => s.outline(RegisterBlock::<13, VECTORS>(o)),
        14 => s.outline(RegisterBlock::<14, VECTORS>(o)),
        _ => unreachable!("no block has {rows} rows"),
    }
}

/// Adds up narrow blocks of 1 to 4 rows and `vectors` vectors in all.
///
/// # Safety
/// Every pointer must be valid for what [`OuterOperands`] describes, for all vectors.
#[inline(always)]
pub(super) unsafe fn run_vectors<S: Simd>(s: S, o: OuterOperands, rows: usize, vectors: usize) {
    let mut o = o;
    for (size, count) in balanced(vectors, max_narrow_vectors(S::ISA, rows)) {
        for _ in 0..count {
            match (rows, size) {
                (1, 1) => s.outline(RegisterBlock::<1, 1>(o)),
                (1, 2) => s.outline(RegisterBlock::<1, 2>(o)),
                (1, 3) => s.outline(RegisterBlock::<1, 3>(o)),
                (1, 4) => s.outline(RegisterBlock::<1, 4>(o)),
                (1, 5) => s.outline(RegisterBlock::<1, 5>(o)),
                (1, 6) => s.outline(RegisterBlock::<1, 6>(o)),
                (1, 7) => s.outline(RegisterBlock::<1, 7>(o)),
                (1, 8) => s.outline(RegisterBlock::<1, 8>(o)),
                (1, 9) => s.outline(RegisterBlock::<1, 9>(o)),
                (1, 10) => s.outline(RegisterBlock::<1, 10>(o)),
                (1, 11) => s.outline(RegisterBlock::<1, 11>(o)),
                (1, 12) => s.outline(RegisterBlock::<1, 12>(o)),
                (2, 1) => s.outline(RegisterBlock::<2, 1>(o)),
                (2, 2) => s.outline(RegisterBlock::<2, 2>(o)),
                (2, 3) => s.outline(RegisterBlock::<2, 3>(o)),
                (2, 4) => s.outline(RegisterBlock::<2, 4>(o)),
                (2, 5) => s.outline(RegisterBlock::<2, 5>(o)),
                (2, 6) => s.outline(RegisterBlock::<2, 6>(o)),
                (3, 1) => s.outline(RegisterBlock::<3, 1>(o)),
                (3, 2) => s.outline(RegisterBlock::<3, 2>(o)),
                (3, 3) => s.outline(RegisterBlock::<3, 3>(o)),
                (3, 4) => s.outline(RegisterBlock::<3, 4>(o)),
                (4, 1) => s.outline(RegisterBlock::<4, 1>(o)),
                (4, 2) => s.outline(RegisterBlock::<4, 2>(o)),
                (4, 3) => s.outline(RegisterBlock::<4, 3>(o)),
                _ => unreachable!("no narrow block has {rows} rows of {size} vectors"),
            }
            o.b = o.b.wrapping_add(size * S::LANES);
            o.sums = o.sums.wrapping_add(size * S::LANES);
        }
    }
}

/// Its operands are valid: only [`run_rows`] and [`run_vectors`] make one.
struct RegisterBlock<const ROWS: usize, const VECTORS: usize>(OuterOperands);

impl<const ROWS: usize, const VECTORS: usize> Kernel for RegisterBlock<ROWS, VECTORS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(ROWS * VECTORS <= max_sums(S::ISA), "the accumulators fit the registers");
        let o = self.0;
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        // SAFETY: the callers of `run_rows` and `run_vectors` promised that the operands are valid.
        unsafe {
            let rows = (0..o.pixels[0]).flat_map(|image| (0..o.pixels[1]).map(move |row| (image, row)));
            for (image, row) in rows {
                let (mut a, mut b) =
                    (o.a.add(image * o.a_image + row * o.a_row), o.b.add(image * o.b_image + row * o.b_row));
                for _ in 0..o.pixels[2] {
                    let vectors: [S::F32; VECTORS] = from_fn(|v| s.load(b.add(v * S::LANES)));
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let a = s.splat(*a.add(i));
                        for (sum, vector) in sums.iter_mut().zip(&vectors) {
                            *sum = s.mul_add(a, *vector, *sum);
                        }
                    }
                    (a, b) = (a.wrapping_add(o.a_pixel), b.wrapping_add(o.b_pixel));
                }
            }
            if o.add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = s.add(s.load(o.sums.add(i * o.sums_row + v * S::LANES)), *sum);
                    }
                }
            }
            for (i, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store(o.sums.add(i * o.sums_row + v * S::LANES), *sum);
                }
            }
        }
    }
}
