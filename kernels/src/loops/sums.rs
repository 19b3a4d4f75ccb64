//! Sums over rows, column by column.

use crate::simd::Simd;

/// Columns that are added up at a time.
pub(crate) const GROUP: usize = 64;

/// What a row adds to the `T` sums of each column: terms of the same lane of `N` operands and `K` coefficients.
pub(crate) trait Terms<const N: usize, const K: usize, const T: usize>: Copy {
    /// The sums with the terms of one row added. Must be `#[inline(always)]`.
    fn add<S: Simd>(self, s: S, inputs: [S::F32; N], coefficients: [S::F32; K], sums: [S::F32; T]) -> [S::F32; T];
}

/// The column sums of `rows` rows that are `stride` values apart, for their first `columns <= GROUP` columns. At least
/// four independent sums hide the latency of additions: those of several vectors or, if there are few, of interleaved
/// sets of rows. So a sum is a chain of `rows / 4 + 3` additions if there are few columns, and of `rows` if not.
///
/// # Panics
/// If an operand has too few values.
#[inline(always)]
pub(crate) fn column_sums<S: Simd, F: Terms<N, K, T>, const N: usize, const K: usize, const T: usize>(
    s: S,
    f: F,
    operands: [&[f32]; N],
    (rows, columns, stride): (usize, usize, usize),
    coefficients: &[[f32; GROUP]; K],
) -> [[f32; GROUP]; T] {
    assert!(columns <= GROUP && columns <= stride);
    let len = if rows == 0 { 0 } else { (rows - 1) * stride + columns };
    assert!(operands.iter().all(|operand| operand.len() >= len));
    let inputs = operands.map(<[f32]>::as_ptr);
    let mut sums = [[0.0; GROUP]; T];
    let block = Block { f, inputs, rows, stride, coefficients };
    let mut column = 0;
    while column < columns {
        let count = columns - column;
        // SAFETY: the vectors are inside the columns, the columns inside every row, and the rows inside every operand,
        // as asserted above.
        column += unsafe {
            match count / S::LANES {
                0 => block.add::<S, T, 1, 4>(s, column, count, &mut sums),
                1 => block.add::<S, T, 1, 4>(s, column, S::LANES, &mut sums),
                2 | 3 => block.add::<S, T, 2, 2>(s, column, S::LANES, &mut sums),
                _ => block.add::<S, T, 4, 1>(s, column, S::LANES, &mut sums),
            }
        };
    }
    sums
}

/// The operands of [`column_sums`].
struct Block<'a, F, const N: usize, const K: usize> {
    f: F,
    inputs: [*const f32; N],
    rows: usize,
    stride: usize,
    coefficients: &'a [[f32; GROUP]; K],
}

impl<F, const N: usize, const K: usize> Block<'_, F, N, K> {
    /// Adds the terms of `V` vectors of one row at `column`; the last vector has `count` lanes.
    ///
    /// # Safety
    /// `(V - 1) LANES + count` values at `column` must be inside the row of every operand.
    #[inline(always)]
    unsafe fn add_row<S: Simd, const T: usize, const V: usize>(
        &self,
        s: S,
        (row, column, count): (usize, usize, usize),
        coefficients: &[[S::F32; K]; V],
        sums: &mut [[S::F32; T]; V],
    ) where
        F: Terms<N, K, T>,
    {
        for v in 0..V {
            let at = row * self.stride + column + v * S::LANES;
            let mut values = [s.splat(0.0); N];
            for (value, input) in values.iter_mut().zip(self.inputs) {
                // SAFETY: the caller's duty.
                *value = unsafe {
                    if count == S::LANES { s.load(input.add(at)) } else { s.load_partial(input.add(at), count) }
                };
            }
            sums[v] = self.f.add(s, values, coefficients[v], sums[v]);
        }
    }

    /// Sums up `V` vectors at `column`, separately for `R` interleaved sets of rows; the last vector has `count` lanes.
    /// Returns the number of columns.
    ///
    /// # Safety
    /// `(V - 1) LANES + count` values at `column` must be inside every row of every operand.
    #[inline(always)]
    unsafe fn add<S: Simd, const T: usize, const V: usize, const R: usize>(
        &self,
        s: S,
        column: usize,
        count: usize,
        out: &mut [[f32; GROUP]; T],
    ) -> usize
    where
        F: Terms<N, K, T>,
    {
        let mut coefficients = [[s.splat(0.0); K]; V];
        for (v, coefficients) in coefficients.iter_mut().enumerate() {
            for (value, coefficient) in coefficients.iter_mut().zip(self.coefficients) {
                let at = column + v * S::LANES;
                // SAFETY: vectors begin at multiples of LANES below GROUP, which is a multiple of LANES.
                *value = unsafe { s.load(coefficient.as_ptr().add(at)) };
            }
        }
        let mut sums = [[[s.splat(0.0); T]; V]; R];
        let mut row = 0;
        while row + R <= self.rows {
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's duty; the row is below `rows`.
                unsafe { self.add_row(s, (row + r, column, count), &coefficients, sums) };
            }
            row += R;
        }
        for row in row..self.rows {
            // SAFETY: as above.
            unsafe { self.add_row(s, (row, column, count), &coefficients, &mut sums[0]) };
        }
        for t in 0..T {
            for v in 0..V {
                let mut sum = sums[0][v][t];
                for others in &sums[1..] {
                    sum = s.add(sum, others[v][t]);
                }
                // SAFETY: as for the coefficients.
                unsafe { s.store(out[t].as_mut_ptr().add(column + v * S::LANES), sum) };
            }
        }
        (V - 1) * S::LANES + count
    }
}
