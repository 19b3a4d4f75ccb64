//! Passes that compute several outputs and sums over rows at once, with coefficients per channel.

use super::{Columns, TILE};
use crate::simd::{Pair, Simd};

/// Rows that are summed in f32: few enough that the sums round no more than their terms do.
const BLOCK: usize = 64;

/// Rows that all columns are computed for before the next ones. Rows are wider than what is computed at once, so the
/// cache lines of so many rows of all operands must stay in the first-level cache.
const STRIP: usize = 8;

/// A function of the same lane of `N` inputs and of `K` coefficients of the lane's channel, which gives `O` outputs and
/// `T` sums. Must be `#[inline(always)]`.
pub(crate) trait RowFunction<const N: usize, const K: usize, const O: usize, const T: usize> {
    /// The outputs, and the sums with this row's terms added.
    fn eval<S: Simd>(
        &self,
        s: S,
        inputs: [S::F32; N],
        coefficients: [S::F32; K],
        sums: [S::F32; T],
    ) -> ([S::F32; O], [S::F32; T]);
}

/// Receives the sums of each block of rows. Columns are those of wide rows, see [`Columns`].
pub(crate) trait BlockSums<const K: usize, const T: usize> {
    /// Whether the first row is a block of its own.
    fn first_row_alone(&self) -> bool {
        false
    }

    /// Called for every tile of columns, before its blocks: writes the coefficients of columns `left..`, one slice per
    /// coefficient.
    fn begin(&mut self, left: usize, coefficients: [&mut [f32]; K]);

    /// Called for every block: the sums of `rows` rows. May change the coefficients for the next block.
    fn add(&mut self, rows: usize, sums: [&[f32]; T], coefficients: [&mut [f32]; K]);

    /// Called after the last block of the tile of columns `left..left + columns`.
    fn end(&mut self, left: usize, columns: usize);
}

/// Adds the sums of the columns of a tile, which begins with channel `left`, to those of their channels.
#[inline(always)]
pub(crate) fn add_columns(totals: &mut [f64], left: usize, sums: &[f32]) {
    // After the last channel, a tile of whole wide rows goes on with the first.
    let (first, others) = sums.split_at(sums.len().min(totals.len() - left));
    add_each(&mut totals[left..], first);
    for sums in others.chunks(totals.len()) {
        add_each(totals, sums);
    }
}

#[inline(always)]
fn add_each(totals: &mut [f64], sums: &[f32]) {
    totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(*sum));
}

/// Pointers to the operands of some whole rows, `len` elements each. For an absent input, give any operand that is
/// present: its values are not used. An absent output is null.
#[derive(Clone, Copy)]
pub(crate) struct Operands<const N: usize, const O: usize> {
    pub(crate) inputs: [*const f32; N],
    pub(crate) outputs: [*mut f32; O],
    pub(crate) len: usize,
}

/// Computes `f` for all elements, in blocks of rows.
///
/// # Safety
/// Operands must be valid for `len` elements, outputs for writing. An input must be the same as an output or not
/// overlap it. Outputs must not overlap each other.
#[inline(always)]
pub(crate) unsafe fn map_rows<S: Simd, F, B, const N: usize, const K: usize, const O: usize, const T: usize>(
    s: S,
    f: &F,
    columns: Columns,
    operands: Operands<N, O>,
    blocks: &mut B,
) where
    F: RowFunction<N, K, O, T>,
    B: BlockSums<K, T>,
{
    let width = columns.width();
    let (rows, rest) = (operands.len / width, operands.len % width);
    let mut coefficients = [[0.0f32; TILE]; K];
    let mut sums = [[0.0f32; TILE]; T];
    for left in (0..width).step_by(TILE) {
        let tile = TILE.min(width - left);
        blocks.begin(left, coefficients.each_mut().map(|k| &mut k[..tile]));
        let mut row = 0;
        // The rest of a wide row is a row with fewer columns. There is only one tile then.
        while row < rows + usize::from(rest > 0) {
            let count = match row {
                0 if blocks.first_row_alone() => 1,
                _ => BLOCK.min(rows - row.min(rows)).max(1),
            };
            let tile = if row == rows { rest } else { tile };
            // SAFETY: rows `row..row + count` have `tile` columns from `left` on.
            unsafe { block(s, f, operands, (row * width + left, count, tile, width), &coefficients, &mut sums) };
            blocks.add(count, sums.each_ref().map(|sum| &sum[..tile]), coefficients.each_mut().map(|k| &mut k[..tile]));
            row += count;
        }
        blocks.end(left, tile);
    }
}

/// One block: `rows` rows of `columns` columns, the first at element `start`, `stride` apart, in strips of rows.
///
/// # Safety
/// As [`map_rows`]; the elements must be among the operands'.
#[inline(always)]
unsafe fn block<S: Simd, F, const N: usize, const K: usize, const O: usize, const T: usize>(
    s: S,
    f: &F,
    operands: Operands<N, O>,
    (start, rows, columns, stride): (usize, usize, usize, usize),
    coefficients: &[[f32; TILE]; K],
    sums: &mut [[f32; TILE]; T],
) where
    F: RowFunction<N, K, O, T>,
{
    for sums in &mut *sums {
        sums[..columns].fill(0.0);
    }
    for row in (0..rows).step_by(STRIP) {
        let (start, rows) = (start + row * stride, STRIP.min(rows - row));
        let mut column = 0;
        // Two vectors at a time hide each other's latency.
        while column + 2 * S::LANES <= columns {
            let place = (start + column, rows, stride, 2 * S::LANES);
            // SAFETY: the columns are there.
            unsafe { vectors(Pair(s), f, operands, place, column, coefficients, sums) };
            column += 2 * S::LANES;
        }
        while column < columns {
            let count = S::LANES.min(columns - column);
            // SAFETY: `count` columns are there.
            unsafe { vectors(s, f, operands, (start + column, rows, stride, count), column, coefficients, sums) };
            column += count;
        }
    }
}

/// `count` columns of `rows` rows, the first at element `start`, whose terms are added to the sums.
///
/// # Safety
/// As [`block`].
#[inline(always)]
unsafe fn vectors<S: Simd, F, const N: usize, const K: usize, const O: usize, const T: usize>(
    s: S,
    f: &F,
    operands: Operands<N, O>,
    (start, rows, stride, count): (usize, usize, usize, usize),
    column: usize,
    coefficients: &[[f32; TILE]; K],
    sums: &mut [[f32; TILE]; T],
) where
    F: RowFunction<N, K, O, T>,
{
    let mut k_values = [s.splat(0.0); K];
    for (value, coefficient) in k_values.iter_mut().zip(coefficients) {
        // SAFETY: columns of partial vectors begin at multiples of LANES below TILE, which is a multiple of twice
        // LANES.
        *value = unsafe { s.load(coefficient.as_ptr().add(column)) };
    }
    let mut row_sums = [s.splat(0.0); T];
    for (value, sum) in row_sums.iter_mut().zip(&*sums) {
        // SAFETY: as for the coefficients.
        *value = unsafe { s.load(sum.as_ptr().add(column)) };
    }
    for row in 0..rows {
        let i = start + row * stride;
        let mut values = [s.splat(0.0); N];
        // SAFETY: the caller's duty; elements of an input that is an output are read before they are written.
        unsafe {
            for (value, input) in values.iter_mut().zip(operands.inputs) {
                *value = s.load_first(input.add(i), count);
            }
            let (results, new_sums) = f.eval(s, values, k_values, row_sums);
            row_sums = new_sums;
            for (result, output) in results.into_iter().zip(operands.outputs) {
                if !output.is_null() {
                    s.store_first(output.add(i), result, count);
                }
            }
        }
    }
    for (sum, value) in sums.iter_mut().zip(row_sums) {
        // SAFETY: as for the coefficients.
        unsafe { s.store(sum.as_mut_ptr().add(column), value) };
    }
}
