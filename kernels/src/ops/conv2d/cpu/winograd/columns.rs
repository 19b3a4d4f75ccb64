//! The transforms of the tiles of a block: vertical for all columns, then horizontal for one vertical frequency.

use super::geometry::{Block, Geometry, skewed};
use super::transform::Transform;
use crate::ops::conv2d::affine::Mapped;
use crate::simd::Simd;

/// The vector at `ptr + vector LANES` of a row of `channels` values, zeros beyond it.
///
/// # Safety
/// `ptr` is valid for reading `channels` values, and `vector LANES < channels`.
#[inline(always)]
pub(super) unsafe fn load_channels<S: Simd>(s: S, ptr: *const f32, vector: usize, channels: usize) -> S::F32 {
    let start = vector * S::LANES;
    // SAFETY: the caller's duty.
    unsafe {
        if start + S::LANES <= channels {
            s.load(ptr.add(start))
        } else {
            s.load_partial(ptr.add(start), channels - start)
        }
    }
}

/// The first pixel of each of `N` rows of an image `[height, width, channels]`, from row `first` on. A row outside the
/// image is `zeros`; the second array tells which are inside.
fn window<const N: usize>(
    image: &[f32],
    zeros: &[f32],
    first: isize,
    [height, width, channels]: [usize; 3],
) -> ([*const f32; N], [bool; N]) {
    let mut rows = [zeros.as_ptr(); N];
    let mut inside = [false; N];
    for i in 0..N {
        if let Ok(row) = usize::try_from(first + i as isize)
            && row < height
        {
            rows[i] = image[row * width * channels..][..width * channels].as_ptr();
            inside[i] = true;
        }
    }
    (rows, inside)
}

/// The rows that a column transform reads.
struct Rows<'a, const A: usize> {
    /// The first pixel of each row; `zeros` for one outside the image.
    start: [*const f32; A],
    /// Which rows are inside the image.
    inside: [bool; A],
    /// Pixels of every row, and values of a pixel.
    columns: usize,
    channels: usize,
    /// How a value inside the image is read: two slices as long as a pixel, or empty.
    scale: &'a [f32],
    shift: &'a [f32],
    /// At least as long as a pixel.
    zeros: &'a [f32],
}

/// Transforms columns of pixels: `out[i][column][..] = f(rows[0][column][..], ...)[i]`, where the rows of `out` are
/// `stride` apart and their pixels padded to whole vectors.
///
/// # Safety
/// Each row is valid for reading `columns x channels` values, and `out + i stride` for writing `columns` padded pixels.
#[inline(always)]
unsafe fn transform_columns<S: Simd, const A: usize, const B: usize>(
    s: S,
    rows: &Rows<'_, A>,
    out: *mut f32,
    stride: usize,
    f: impl Fn([S::F32; A]) -> [S::F32; B],
) {
    let (columns, channels) = (rows.columns, rows.channels);
    let (padded, whole) = (channels.next_multiple_of(S::LANES), channels - channels % S::LANES);
    /// One vector of a column, from element `$from` of the rows to element `$to` of the output, read by
    /// `$load(row, value)`.
    macro_rules! apply {
        ($from:expr, $to:expr, |$row:ident, $ptr:ident| $load:expr) => {{
            let (from, to) = ($from, $to);
            let mut d = [s.splat(0.0); A];
            for ($row, d) in d.iter_mut().enumerate() {
                // SAFETY: `from` and the values after it are among the row's `columns x channels`.
                *d = unsafe {
                    let $ptr = rows.start[$row].add(from);
                    $load
                };
            }
            for (i, f) in f(d).into_iter().enumerate() {
                // SAFETY: `to` begins a vector of one of the padded pixels.
                unsafe { s.store(out.add(i * stride + to), f) };
            }
        }};
    }
    if rows.scale.is_empty() {
        if channels == whole {
            // No pixel has padding: one run of vectors.
            for at in (0..columns * channels).step_by(S::LANES) {
                apply!(at, at, |_i, row| s.load(row));
            }
            return;
        }
        for column in 0..columns {
            let (from, to) = (column * channels, column * padded);
            for v in (0..whole).step_by(S::LANES) {
                apply!(from + v, to + v, |_i, row| s.load(row));
            }
            apply!(from + whole, to + whole, |_i, row| s.load_partial(row, channels - whole));
        }
        return;
    }
    assert!(rows.scale.len() == channels && rows.shift.len() == channels && rows.zeros.len() >= channels);
    // A row outside the image has a shift of 0, and stays 0.
    let shifts = rows.inside.map(|inside| if inside { rows.shift.as_ptr() } else { rows.zeros.as_ptr() });
    let all = rows.inside.iter().all(|inside| *inside);
    for column in 0..columns {
        let (from, to) = (column * channels, column * padded);
        for v in (0..whole).step_by(S::LANES) {
            // SAFETY: `v + LANES <= channels`, the length of the map and, at least, of the zeros.
            let [scale, shift] = unsafe { [s.load(rows.scale.as_ptr().add(v)), s.load(rows.shift.as_ptr().add(v))] };
            if all {
                apply!(from + v, to + v, |_i, row| s.mul_add(s.load(row), scale, shift));
            } else {
                apply!(from + v, to + v, |i, row| s.mul_add(s.load(row), scale, s.load(shifts[i].add(v))));
            }
        }
        if whole < channels {
            let rest = channels - whole;
            // SAFETY: as above, for the rest of the channels.
            let scale = unsafe { s.load_partial(rows.scale.as_ptr().add(whole), rest) };
            apply!(from + whole, to + whole, |i, row| {
                s.mul_add(s.load_partial(row, rest), scale, s.load_partial(shifts[i].add(whole), rest))
            });
        }
    }
}

/// Sets few whole vectors to 0, without a call of the C library.
#[inline(always)]
fn zero<S: Simd>(s: S, values: &mut [f32]) {
    debug_assert!(values.len().is_multiple_of(S::LANES));
    for vector in values.chunks_exact_mut(S::LANES) {
        // SAFETY: the chunk has `LANES` values.
        unsafe { s.store(vector.as_mut_ptr(), s.splat(0.0)) };
    }
}

/// `S = B^T d` of every column of a block, vertical frequencies `stride` elements apart.
#[inline(always)]
pub(super) fn input_columns<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    x: Mapped<&[f32]>,
    zeros: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let [tile_rows, tile_cols] = g.in_tiles(b);
    let columns = M * tile_cols + R - 1;
    let c = g.c_padded();
    assert!(stride >= tile_rows * columns * c && out.len() >= N * stride && zeros.len() >= columns * c);
    let image_len = g.h * g.w * g.c;
    for row in 0..tile_rows {
        let (image, tile) = g.in_tile_row(b, row);
        let image = &x.values[image * image_len..(image + 1) * image_len];
        let first = (b.col * M) as isize - g.pad[1];
        let (mut rows, inside) = window::<N>(image, zeros, (tile * M) as isize - g.pad[0], [g.h, g.w, g.c]);
        // Columns `start..end` of the block are inside the image.
        let start = (-first).clamp(0, columns as isize) as usize;
        let end = (g.w as isize - first).clamp(start as isize, columns as isize) as usize;
        let out = &mut out[row * columns * c..];
        for i in 0..N {
            zero(s, &mut out[i * stride..][..start * c]);
            zero(s, &mut out[i * stride..][end * c..columns * c]);
        }
        if start == end {
            continue;
        }
        for (row, inside) in rows.iter_mut().zip(inside) {
            if inside {
                // SAFETY: the row has `w` pixels, and `0 <= start + first < w`.
                *row = unsafe { row.add((start as isize + first) as usize * g.c) };
            }
        }
        let rows =
            Rows { start: rows, inside, columns: end - start, channels: g.c, scale: x.scale, shift: x.shift, zeros };
        // SAFETY: `end - start` pixels from there are inside the row, `zeros` is as long as a row of the block, and
        // `out` holds `N` rows of `columns` pixels, `stride` apart.
        unsafe {
            let out = out.as_mut_ptr().add(start * c);
            transform_columns(
                s,
                &rows,
                out,
                stride,
                #[inline(always)]
                |d| T::input(s, d),
            );
        }
    }
}

/// `V = S B` of every tile of a block, for one vertical frequency whose columns are `columns`.
#[inline(always)]
pub(super) fn input_tiles<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    columns: &[f32],
    out: &mut [f32],
) {
    let c = g.c_padded();
    let [rows, cols] = g.in_tiles(b);
    let stride = skewed(rows * cols * c);
    let width = M * cols + R - 1;
    assert!(columns.len() >= rows * width * c && out.len() >= N * stride);
    for row in 0..rows {
        for col in 0..cols {
            let (from, to) = ((row * width + col * M) * c, (row * cols + col) * c);
            for v in (0..c).step_by(S::LANES) {
                let mut d = [s.splat(0.0); N];
                for (j, d) in d.iter_mut().enumerate() {
                    // SAFETY: `col M + j < width`: inside `columns`, whose length is asserted.
                    *d = unsafe { s.load(columns.as_ptr().add(from + j * c + v)) };
                }
                for (j, f) in T::input(s, d).into_iter().enumerate() {
                    // SAFETY: inside `out`, whose length is asserted.
                    unsafe { s.store(out.as_mut_ptr().add(j * stride + to + v), f) };
                }
            }
        }
    }
}

/// `A dy` of every column of a block: as [`input_columns`], for tiles of the output's gradient.
#[inline(always)]
pub(super) fn output_columns<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    g: &Geometry,
    b: &Block,
    dy: Mapped<&[f32]>,
    zeros: &[f32],
    out: &mut [f32],
) {
    let (k, width) = (g.k_padded(), M * b.cols);
    let stride = skewed(b.rows * width * k);
    assert!(out.len() >= N * stride && zeros.len() >= width * k);
    let image_len = g.p * g.q * g.k;
    for row in 0..b.rows {
        let (image, tile) = g.tile_row(b, row);
        let image = &dy.values[image * image_len..(image + 1) * image_len];
        let (mut rows, inside) = window::<M>(image, zeros, (tile * M) as isize, [g.p, g.q, g.k]);
        let columns = width.min(g.q - b.col * M);
        let out = &mut out[row * width * k..];
        for i in 0..N {
            zero(s, &mut out[i * stride..][columns * k..width * k]);
        }
        for (row, inside) in rows.iter_mut().zip(inside) {
            if inside {
                // SAFETY: the row has `q` pixels, and the block begins inside.
                *row = unsafe { row.add(b.col * M * g.k) };
            }
        }
        let rows = Rows { start: rows, inside, columns, channels: g.k, scale: dy.scale, shift: dy.shift, zeros };
        // SAFETY: `columns` pixels from there are inside the row, `zeros` is as long as a row of the block, and `out`
        // holds `N` rows of `width` pixels, `stride` apart.
        unsafe {
            transform_columns(
                s,
                &rows,
                out.as_mut_ptr(),
                stride,
                #[inline(always)]
                |d| T::output_adjoint(s, d),
            )
        };
    }
}
