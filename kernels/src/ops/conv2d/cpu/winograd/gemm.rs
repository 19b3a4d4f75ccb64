//! Micro-kernels of the products in the frequency domain.
//!
//! Both hold a register block of `ROWS x VECS` vectors: 12 x 2 on AVX-512 (24 of 32 registers, 2 for the right operand,
//! the left one broadcast from memory), 6 x 2 on AVX2 (12 of 16). Where there is only one vector, 16 x 1 on AVX-512:
//! with fewer rows, the loads take longer than the products. They are compiled out of line, on their own. Inlined
//! into the loop over blocks of tiles, LLVM keeps addresses in registers and spills accumulators, which halves the
//! speed.
//!
//! Products leave most of the memory's bandwidth idle, so they also fetch what the next block of tiles reads: see
//! [`Prefetch`].

use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Rows of a register block, of matrices with so many vectors.
const fn max_rows(isa: Isa, vectors: usize) -> usize {
    match isa {
        Isa::Portable => 3,
        Isa::Avx2 => 6,
        Isa::Avx512 if vectors == 1 => 16,
        Isa::Avx512 => 12,
    }
}

/// A `rows x columns` matrix of f32 whose rows are `stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Matrix<P> {
    pub(super) ptr: P,
    pub(super) stride: usize,
}

/// Values in a cache line.
const LINE: usize = 16;

/// Products that the inner loop takes in one round. With two, AVX2 needs 5 to 8 % less time, as the loop's own
/// instructions and the prefetches are fewer; the sums have the same order.
const fn unroll(isa: Isa) -> usize {
    match isa {
        Isa::Portable | Isa::Avx2 => 2,
        Isa::Avx512 => 1,
    }
}

/// Values that are used soon after a product, brought into L2 while it runs: `step` values, a cache line at most, each
/// time its inner loop goes round. (All at once before each product, the weight gradient takes 4 % longer, the other
/// passes the same.)
#[derive(Clone, Copy)]
pub(super) struct Prefetch {
    ptr: *const f32,
    step: usize,
}

impl Prefetch {
    /// What is left after `steps` steps.
    #[inline(always)]
    fn after(self, steps: usize) -> Prefetch {
        Prefetch { ptr: self.ptr.wrapping_add(self.step * steps), ..self }
    }

    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S) {
        s.prefetch(self.ptr);
        *self = self.after(1);
    }
}

/// Values that are fetched in equal pieces by some products.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    start: *const f32,
    /// Values that a product fetches, and those that a step of it does.
    piece: usize,
    step: usize,
}

impl Stream {
    /// `range` of the values at `values`, fetched by `products` products that go round `steps` times each.
    pub(super) fn new(values: *const f32, range: &Range<usize>, products: usize, steps: usize) -> Stream {
        let piece = range.len().div_ceil(products);
        Stream { start: values.wrapping_add(range.start), piece, step: piece.div_ceil(steps).min(LINE) }
    }

    /// What product `index` fetches.
    #[inline(always)]
    pub(super) fn piece(&self, index: usize) -> Prefetch {
        Prefetch { ptr: self.start.wrapping_add(self.piece * index), step: self.step }
    }
}

/// How often the inner loop of [`multiply`] or [`accumulate`] goes round.
pub(super) fn steps<S: Simd>(rows: usize, depth: usize, vectors: usize) -> usize {
    rows.div_ceil(max_rows(S::ISA, vectors)) * rounds::<S>(depth) * vectors.div_ceil(2)
}

/// How often it goes round for a register block.
fn rounds<S: Simd>(depth: usize) -> usize {
    depth.div_ceil(unroll(S::ISA))
}

/// `acc[r][v] += left[r stride] right[v]`
///
/// # Safety
/// `left` is valid for `ROWS` values, `stride` apart, and `right` for `VECS LANES`.
#[inline(always)]
unsafe fn product<S: Simd, const ROWS: usize, const VECS: usize>(
    s: S,
    acc: &mut [[S::F32; VECS]; ROWS],
    left: *const f32,
    stride: usize,
    right: *const f32,
) {
    let mut b = [s.splat(0.0); VECS];
    // SAFETY: the caller's duty.
    unsafe {
        for (v, b) in b.iter_mut().enumerate() {
            *b = s.load(right.add(v * S::LANES));
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            let a = s.splat(*left.add(r * stride));
            for (acc, b) in acc.iter_mut().zip(b) {
                *acc = s.mul_add(a, b, *acc);
            }
        }
    }
}

/// The [`product`]s of `depth` steps, from one to the next of which both operands move on by their `step`s. Returns
/// where the right operand's next step would be.
///
/// # Safety
/// As [`product`], for all steps.
#[inline(always)]
unsafe fn products<S: Simd, const ROWS: usize, const VECS: usize>(
    s: S,
    acc: &mut [[S::F32; VECS]; ROWS],
    left: Matrix<*const f32>,
    right: Matrix<*const f32>,
    [left_step, depth]: [usize; 2],
    prefetch: &mut [Prefetch; 2],
) -> *const f32 {
    let (mut l, mut r) = (left.ptr, right.ptr);
    let mut rest = depth;
    while rest > 0 {
        prefetch[0].step(s);
        prefetch[1].step(s);
        // SAFETY: the caller's duty.
        unsafe {
            if unroll(S::ISA) == 2 && rest > 1 {
                product(s, acc, l, left.stride, r);
                product(s, acc, l.add(left_step), left.stride, r.add(right.stride));
                (l, r) = (l.wrapping_add(2 * left_step), r.wrapping_add(2 * right.stride));
                rest -= 2;
            } else {
                product(s, acc, l, left.stride, r);
                (l, r) = (l.wrapping_add(left_step), r.wrapping_add(right.stride));
                rest -= 1;
            }
        }
    }
    r
}

/// `out = acc` if it is to be `set`, or `out += acc`.
///
/// # Safety
/// `out` is valid for updating `ROWS x VECS LANES` values.
#[inline(always)]
unsafe fn put_rows<S: Simd, const ROWS: usize, const VECS: usize>(
    s: S,
    acc: [[S::F32; VECS]; ROWS],
    out: Matrix<*mut f32>,
    set: bool,
) {
    let mut row = out.ptr;
    for acc in acc {
        for (v, acc) in acc.into_iter().enumerate() {
            // SAFETY: the caller's duty.
            unsafe {
                let out = row.add(v * S::LANES);
                s.store(out, if set { acc } else { s.add(s.load(out), acc) });
            }
        }
        // Where all rows are would be computed ahead, and kept on the stack.
        row = row.wrapping_add(s.opaque(out.stride));
    }
}

/// Whether [`multiply`] reads a row of its left operand only once, as the right one has so few vectors.
pub(super) const fn is_one_panel(vectors: usize) -> bool {
    vectors <= 2
}

/// `out[t][k] = sum_{o,c} left[t][offsets[o] + c] right[o depth + c][k]`, with `right` packed by [`packed_offset`] and
/// `vectors` vectors of `k`.
///
/// # Safety
/// `left` is valid for `rows x depth` from each of the offsets, `right` for `offsets depth x vectors LANES`, and `out`
/// for writing `rows x vectors LANES` values. `out` is disjoint from both. It may also be the same as `left`, with one
/// offset of 0, if `right` [is one panel](is_one_panel).
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(
    s: S,
    left: Matrix<*const f32>,
    offsets: &[usize],
    right: *const f32,
    out: Matrix<*mut f32>,
    [rows, depth, vectors]: [usize; 3],
    prefetch: [Prefetch; 2],
) {
    let blocks = rows.div_ceil(max_rows(S::ISA, vectors));
    let mut row = 0;
    for block in 0..blocks {
        // Register blocks of equal height: 14 rows are 5 + 5 + 4, not 6 + 6 + 2, so none is too low to hide the
        // latency.
        let end = rows * (block + 1) / blocks;
        let prefetch = prefetch.map(|p| p.after(block * offsets.len() * rounds::<S>(depth) * vectors.div_ceil(2)));
        // SAFETY: rows `row..end` are inside both matrices.
        let (left, out) = unsafe {
            (
                Matrix { ptr: left.ptr.add(row * left.stride), ..left },
                Matrix { ptr: out.ptr.add(row * out.stride), ..out },
            )
        };
        macro_rules! block_of {
            ($($rows:literal)*) => {
                match end - row {
                    $($rows => s.outline(Multiply::<$rows> { left, offsets, right, out, depth, vectors, prefetch }),)*
                    _ => unreachable!(),
                }
            };
        }
        match S::ISA {
            Isa::Portable => block_of!(1 2 3),
            Isa::Avx2 => block_of!(1 2 3 4 5 6),
            Isa::Avx512 => block_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
        }
        row = end;
    }
}

/// `out[c][k] += sum_{u,t} left[u][t][c] right[u][t][k]`, or `=` if it is to be `set`, with `vectors` vectors of `k`;
/// the `u` of either side are `outer` apart.
///
/// # Safety
/// `left` is valid for `depth[0] x depth[1] x rows`, `right` for `depth[0] x depth[1] x vectors LANES`, `out` for
/// updating `rows x vectors LANES` values.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn accumulate<S: Simd>(
    s: S,
    left: Matrix<*const f32>,
    right: Matrix<*const f32>,
    outer: [usize; 2],
    out: Matrix<*mut f32>,
    set: bool,
    depth: [usize; 2],
    [rows, vectors]: [usize; 2],
    prefetch: [Prefetch; 2],
) {
    let blocks = rows.div_ceil(max_rows(S::ISA, vectors));
    let mut row = 0;
    for block in 0..blocks {
        let end = rows * (block + 1) / blocks;
        let prefetch = prefetch.map(|p| p.after(block * depth[0] * rounds::<S>(depth[1]) * vectors.div_ceil(2)));
        // SAFETY: rows `row..end` are columns of `left` and rows of `out`.
        let (left, out) = unsafe {
            (Matrix { ptr: left.ptr.add(row), ..left }, Matrix { ptr: out.ptr.add(row * out.stride), ..out })
        };
        macro_rules! block_of {
            ($($rows:literal)*) => {
                match end - row {
                    $($rows => s.outline(Accumulate::<$rows> { left, right, outer, out, set, depth, vectors, prefetch }),)*
                    _ => unreachable!(),
                }
            };
        }
        match S::ISA {
            Isa::Portable => block_of!(1 2 3),
            Isa::Avx2 => block_of!(1 2 3 4 5 6),
            Isa::Avx512 => block_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
        }
        row = end;
    }
}

/// Where the columns from vector `vector` on begin in a packed right operand of `depth` rows. Columns are packed in
/// pairs of vectors, each pair `depth` rows of two vectors; an odd last one is `depth` rows of one.
pub(super) const fn packed_offset(vector: usize, depth: usize, lanes: usize) -> usize {
    vector * lanes * depth
}

/// Index in a packed right operand of row `row`, column `column`, of `vectors` vectors.
pub(super) const fn packed_index(row: usize, column: usize, depth: usize, vectors: usize, lanes: usize) -> usize {
    let pair = column / lanes / 2 * 2;
    let width = if pair + 1 < vectors { 2 * lanes } else { lanes };
    packed_offset(pair, depth, lanes) + row * width + (column - pair * lanes)
}

/// [`multiply`] for one row of register blocks.
struct Multiply<'a, const ROWS: usize> {
    left: Matrix<*const f32>,
    offsets: &'a [usize],
    right: *const f32,
    out: Matrix<*mut f32>,
    depth: usize,
    vectors: usize,
    prefetch: [Prefetch; 2],
}

impl<const ROWS: usize> Multiply<'_, ROWS> {
    /// Computes the `VECS` vectors of the output at `out`, and moves on to those after them.
    ///
    /// # Safety
    /// As [`multiply`], for these vectors.
    #[inline(always)]
    unsafe fn block<S: Simd, const VECS: usize>(
        &self,
        s: S,
        right: &mut *const f32,
        out: &mut *mut f32,
        prefetch: &mut [Prefetch; 2],
    ) {
        // SAFETY: the caller's duty; every access is inside `ROWS x depth`, `depth x VECS` or `ROWS x VECS`.
        unsafe {
            let mut acc = [[s.splat(0.0); VECS]; ROWS];
            for &offset in self.offsets {
                let left = Matrix { ptr: self.left.ptr.add(offset), ..self.left };
                let operand = Matrix { ptr: *right, stride: VECS * S::LANES };
                *right = products(s, &mut acc, left, operand, [1, self.depth], prefetch);
            }
            put_rows(s, acc, Matrix { ptr: *out, ..self.out }, true);
            *out = out.add(VECS * S::LANES);
        }
    }
}

impl<const ROWS: usize> Kernel for Multiply<'_, ROWS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut right, mut out, mut prefetch) = (self.right, self.out.ptr, self.prefetch);
        for _ in 0..self.vectors / 2 {
            // SAFETY: `multiply` passes on its caller's promise.
            unsafe { self.block::<S, 2>(s, &mut right, &mut out, &mut prefetch) };
        }
        if !self.vectors.is_multiple_of(2) {
            // SAFETY: as above.
            unsafe { self.block::<S, 1>(s, &mut right, &mut out, &mut prefetch) };
        }
    }
}

/// [`accumulate`] for one row of register blocks.
struct Accumulate<const ROWS: usize> {
    left: Matrix<*const f32>,
    right: Matrix<*const f32>,
    outer: [usize; 2],
    out: Matrix<*mut f32>,
    set: bool,
    depth: [usize; 2],
    vectors: usize,
    prefetch: [Prefetch; 2],
}

impl<const ROWS: usize> Accumulate<ROWS> {
    /// Computes the `VECS` vectors of the output at `out`, and moves on to those after them.
    ///
    /// # Safety
    /// As [`accumulate`], for these vectors.
    #[inline(always)]
    unsafe fn block<S: Simd, const VECS: usize>(
        &self,
        s: S,
        right: &mut *const f32,
        out: &mut *mut f32,
        prefetch: &mut [Prefetch; 2],
    ) {
        // SAFETY: the caller's duty; every access is inside `depth x ROWS`, `depth x VECS` or `ROWS x VECS`.
        unsafe {
            let mut acc = [[s.splat(0.0); VECS]; ROWS];
            for row in 0..self.depth[0] {
                let right = Matrix { ptr: right.add(row * self.outer[1]), ..self.right };
                let left = Matrix { ptr: self.left.ptr.add(row * self.outer[0]), stride: 1 };
                products(s, &mut acc, left, right, [self.left.stride, self.depth[1]], prefetch);
            }
            put_rows(s, acc, Matrix { ptr: *out, ..self.out }, self.set);
            *right = right.add(VECS * S::LANES);
            *out = out.add(VECS * S::LANES);
        }
    }
}

impl<const ROWS: usize> Kernel for Accumulate<ROWS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut right, mut out, mut prefetch) = (self.right.ptr, self.out.ptr, self.prefetch);
        for _ in 0..self.vectors / 2 {
            // SAFETY: `accumulate` passes on its caller's promise.
            unsafe { self.block::<S, 2>(s, &mut right, &mut out, &mut prefetch) };
        }
        if !self.vectors.is_multiple_of(2) {
            // SAFETY: as above.
            unsafe { self.block::<S, 1>(s, &mut right, &mut out, &mut prefetch) };
        }
    }
}
