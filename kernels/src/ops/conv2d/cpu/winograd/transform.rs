//! The one-dimensional transforms of minimal filtering `F(M, R)`, on vectors of channels.
//!
//! `M` outputs of a correlation with `R` taps cost `N = M + R - 1` multiplications (Winograd 1980, Lavin & Gray 2016):
//!
//! ```text
//! y = A^T [ (G w) . (B^T d) ]            d: N inputs, w: R taps, y: M outputs
//! dw = G^T [ (B^T d) . (A dy) ]          its adjoint in w
//! ```
//!
//! Two-dimensional tiles apply the transform to columns, then to rows. `B^T`, `G` and `A^T` below are those of Lavin &
//! Gray, section 4, for the points 0, 1, -1 (, 2, -2 (, 1/2 (, -1/2))) and infinity.

use crate::simd::Simd;

/// The transforms of `F(M, R)`; `N = M + R - 1`.
pub(super) trait Transform<const N: usize, const M: usize, const R: usize> {
    /// `G`: taps to frequencies.
    const G: [[f64; R]; N];
    /// `B^T d`
    fn input<S: Simd>(s: S, d: [S::F32; N]) -> [S::F32; N];
    /// `A^T m`
    fn output<S: Simd>(s: S, m: [S::F32; N]) -> [S::F32; M];
    /// `A dy`
    fn output_adjoint<S: Simd>(s: S, dy: [S::F32; M]) -> [S::F32; N];
}

/// `F(4, 3)`: 36 multiplications for 16 outputs in two dimensions, a quarter of the direct 144.
pub(super) struct F4x3;

impl Transform<6, 4, 3> for F4x3 {
    const G: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];

    /// ```text
    /// [4  0 -5  0  1  0]
    /// [0 -4 -4  1  1  0]
    /// [0  4 -4 -1  1  0]
    /// [0 -2 -1  2  1  0]
    /// [0  2 -1 -2  1  0]
    /// [0  4  0 -5  0  1]
    /// ```
    #[inline(always)]
    fn input<S: Simd>(s: S, [d0, d1, d2, d3, d4, d5]: [S::F32; 6]) -> [S::F32; 6] {
        let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(5.0));
        let even = s.neg_mul_add(four, d2, d4);
        let odd = s.neg_mul_add(four, d1, d3);
        let even2 = s.sub(d4, d2);
        let odd2 = s.mul(two, s.sub(d3, d1));
        [
            s.mul_add(four, d0, s.neg_mul_add(five, d2, d4)),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(even2, odd2),
            s.sub(even2, odd2),
            s.mul_add(four, d1, s.neg_mul_add(five, d3, d5)),
        ]
    }

    /// ```text
    /// [1  1  1  1  1  0]
    /// [0  1 -1  2 -2  0]
    /// [0  1  1  4  4  0]
    /// [0  1 -1  8 -8  1]
    /// ```
    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5]: [S::F32; 6]) -> [S::F32; 4] {
        let (even, odd) = (s.add(m1, m2), s.sub(m1, m2));
        let (even2, odd2) = (s.add(m3, m4), s.sub(m3, m4));
        [
            s.add(s.add(m0, even), even2),
            s.mul_add(s.splat(2.0), odd2, odd),
            s.mul_add(s.splat(4.0), even2, even),
            s.add(s.mul_add(s.splat(8.0), odd2, odd), m5),
        ]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [y0, y1, y2, y3]: [S::F32; 4]) -> [S::F32; 6] {
        let (even, odd) = (s.add(y0, y2), s.add(y1, y3));
        let even2 = s.mul_add(s.splat(4.0), y2, y0);
        let odd2 = s.mul(s.splat(2.0), s.mul_add(s.splat(4.0), y3, y1));
        [y0, s.add(even, odd), s.sub(even, odd), s.add(even2, odd2), s.sub(even2, odd2), y3]
    }
}

/// `F(4, 4)`: 49 multiplications for 16 outputs in two dimensions, of the direct 256. Point 1/2 besides those of
/// [`F4x3`]: the polynomials of these have a factor `x - 1/2` more, which is taken first.
pub(super) struct F4x4;

impl Transform<7, 4, 4> for F4x4 {
    const G: [[f64; 4]; 7] = [
        [-1.0 / 2.0, 0.0, 0.0, 0.0],
        powers(-1.0 / 3.0, 1.0),
        powers(1.0 / 9.0, -1.0),
        powers(1.0 / 36.0, 2.0),
        powers(-1.0 / 60.0, -2.0),
        powers(32.0 / 45.0, 0.5),
        [0.0, 0.0, 0.0, 1.0],
    ];

    /// ```text
    /// [-2    4  5/2   -5 -1/2    1  0]
    /// [ 0    2   -2 -9/2  1/2    1  0]
    /// [ 0   -2    6 -7/2 -3/2    1  0]
    /// [ 0    1 -3/2   -2  3/2    1  0]
    /// [ 0   -1  5/2    0 -5/2    1  0]
    /// [ 0    4    0   -5    0    1  0]
    /// [ 0   -2    4  5/2   -5 -1/2  1]
    /// ```
    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::F32; 7]) -> [S::F32; 7] {
        let half = s.splat(0.5);
        let [y0, y1, y2, y3, y4, y5] = F4x3::input(s, std::array::from_fn(|i| s.neg_mul_add(half, d[i], d[i + 1])));
        let at_half = s.mul_add(s.splat(4.0), d[1], s.neg_mul_add(s.splat(5.0), d[3], d[5]));
        [y0, y1, y2, y3, y4, at_half, y5]
    }

    /// ```text
    /// [1  1  1  1  1   1  0]
    /// [0  1 -1  2 -2 1/2  0]
    /// [0  1  1  4  4 1/4  0]
    /// [0  1 -1  8 -8 1/8  1]
    /// ```
    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5, m6]: [S::F32; 7]) -> [S::F32; 4] {
        let [y0, y1, y2, y3] = F4x3::output(s, [m0, m1, m2, m3, m4, m6]);
        [
            s.add(y0, m5),
            s.mul_add(s.splat(0.5), m5, y1),
            s.mul_add(s.splat(0.25), m5, y2),
            s.mul_add(s.splat(0.125), m5, y3),
        ]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [y0, y1, y2, y3]: [S::F32; 4]) -> [S::F32; 7] {
        let [z0, z1, z2, z3, z4, z5] = F4x3::output_adjoint(s, [y0, y1, y2, y3]);
        let (even, odd) = (s.mul_add(s.splat(0.25), y2, y0), s.mul_add(s.splat(0.25), y3, y1));
        [z0, z1, z2, z3, z4, s.mul_add(s.splat(0.5), odd, even), z5]
    }
}

/// `F(4, 5)`: 64 multiplications for 16 outputs in two dimensions, of the direct 400. Points 1/2 and -1/2 besides those
/// of [`F4x3`].
pub(super) struct F4x5;

impl Transform<8, 4, 5> for F4x5 {
    const G: [[f64; 5]; 8] = [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        powers(-2.0 / 9.0, 1.0),
        powers(-2.0 / 9.0, -1.0),
        powers(1.0 / 90.0, 2.0),
        powers(1.0 / 90.0, -2.0),
        powers(32.0 / 45.0, 0.5),
        powers(32.0 / 45.0, -0.5),
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ];

    /// ```text
    /// [1    0  -21/4     0  21/4     0 -1  0]
    /// [0    1     1  -17/4 -17/4     1  1  0]
    /// [0   -1     1   17/4 -17/4    -1  1  0]
    /// [0  1/2   1/4   -5/2  -5/4     2  1  0]
    /// [0 -1/2   1/4    5/2  -5/4    -2  1  0]
    /// [0    2     4   -5/2    -5   1/2  1  0]
    /// [0   -2     4    5/2    -5  -1/2  1  0]
    /// [0   -1     0   21/4     0 -21/4  0  1]
    /// ```
    #[inline(always)]
    fn input<S: Simd>(s: S, [d0, d1, d2, d3, d4, d5, d6, d7]: [S::F32; 8]) -> [S::F32; 8] {
        let [c21, c17, c5] = [s.splat(21.0 / 4.0), s.splat(17.0 / 4.0), s.splat(5.0 / 4.0)];
        let [two, four, half, quarter] = [s.splat(2.0), s.splat(4.0), s.splat(0.5), s.splat(0.25)];
        let (ten, five) = (s.splat(5.0 / 2.0), s.splat(5.0));
        let even = s.neg_mul_add(c17, d4, s.add(d2, d6));
        let odd = s.neg_mul_add(c17, d3, s.add(d1, d5));
        let even2 = s.mul_add(quarter, d2, s.neg_mul_add(c5, d4, d6));
        let odd2 = s.mul_add(half, d1, s.neg_mul_add(ten, d3, s.mul(two, d5)));
        let even_half = s.mul_add(four, d2, s.neg_mul_add(five, d4, d6));
        let odd_half = s.mul_add(two, d1, s.neg_mul_add(ten, d3, s.mul(half, d5)));
        [
            s.mul_add(c21, s.sub(d4, d2), s.sub(d0, d6)),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(even2, odd2),
            s.sub(even2, odd2),
            s.add(even_half, odd_half),
            s.sub(even_half, odd_half),
            s.mul_add(c21, s.sub(d3, d5), s.sub(d7, d1)),
        ]
    }

    /// ```text
    /// [1  1  1  1  1  1    1   0]
    /// [0  1 -1  2 -2 1/2 -1/2  0]
    /// [0  1  1  4  4 1/4  1/4  0]
    /// [0  1 -1  8 -8 1/8 -1/8  1]
    /// ```
    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3, m4, m5, m6, m7]: [S::F32; 8]) -> [S::F32; 4] {
        let (even, odd) = (s.add(m1, m2), s.sub(m1, m2));
        let (even2, odd2) = (s.add(m3, m4), s.sub(m3, m4));
        let (even_half, odd_half) = (s.add(m5, m6), s.sub(m5, m6));
        [
            s.add(s.add(m0, even), s.add(even2, even_half)),
            s.mul_add(s.splat(2.0), odd2, s.mul_add(s.splat(0.5), odd_half, odd)),
            s.mul_add(s.splat(4.0), even2, s.mul_add(s.splat(0.25), even_half, even)),
            s.mul_add(s.splat(8.0), odd2, s.mul_add(s.splat(0.125), odd_half, s.add(odd, m7))),
        ]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [y0, y1, y2, y3]: [S::F32; 4]) -> [S::F32; 8] {
        let (even, odd) = (s.add(y0, y2), s.add(y1, y3));
        let even2 = s.mul_add(s.splat(4.0), y2, y0);
        let odd2 = s.mul(s.splat(2.0), s.mul_add(s.splat(4.0), y3, y1));
        let even_half = s.mul_add(s.splat(0.25), y2, y0);
        let odd_half = s.mul(s.splat(0.5), s.mul_add(s.splat(0.25), y3, y1));
        [
            y0,
            s.add(even, odd),
            s.sub(even, odd),
            s.add(even2, odd2),
            s.sub(even2, odd2),
            s.add(even_half, odd_half),
            s.sub(even_half, odd_half),
            y3,
        ]
    }
}

/// `factor` times the powers of a point.
const fn powers<const R: usize>(factor: f64, point: f64) -> [f64; R] {
    let mut row = [factor; R];
    let mut i = 1;
    while i < R {
        row[i] = row[i - 1] * point;
        i += 1;
    }
    row
}

/// `F(2, 3)`: 16 multiplications for 4 outputs, 2.25 times fewer than direct, with errors like those of a direct
/// convolution.
pub(super) struct F2x3;

impl Transform<4, 2, 3> for F2x3 {
    const G: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

    #[inline(always)]
    fn input<S: Simd>(s: S, [d0, d1, d2, d3]: [S::F32; 4]) -> [S::F32; 4] {
        [s.sub(d0, d2), s.add(d1, d2), s.sub(d2, d1), s.sub(d3, d1)]
    }

    #[inline(always)]
    fn output<S: Simd>(s: S, [m0, m1, m2, m3]: [S::F32; 4]) -> [S::F32; 2] {
        [s.add(m0, s.add(m1, m2)), s.add(s.sub(m1, m2), m3)]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, [y0, y1]: [S::F32; 2]) -> [S::F32; 4] {
        [y0, s.add(y0, y1), s.sub(y0, y1), y1]
    }
}

/// `G w G^T`: `taps[r][s]` to `N x N` frequencies.
#[inline(always)]
pub(super) fn weight<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    taps: [[S::F32; R]; R],
) -> [[S::F32; N]; N] {
    let mut out = [[s.splat(0.0); N]; N];
    for (out, g) in out.iter_mut().zip(T::G) {
        let mut row = [s.splat(0.0); R];
        for (taps, g) in taps.iter().zip(g) {
            for (row, tap) in row.iter_mut().zip(taps) {
                *row = s.mul_add(s.splat(g as f32), *tap, *row);
            }
        }
        for (out, g) in out.iter_mut().zip(T::G) {
            for (row, g) in row.iter().zip(g) {
                *out = s.mul_add(s.splat(g as f32), *row, *out);
            }
        }
    }
    out
}

/// `G^T u G`: its adjoint, from frequencies to the gradient of the taps.
#[inline(always)]
pub(super) fn weight_adjoint<S: Simd, T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize>(
    s: S,
    frequencies: [[S::F32; N]; N],
) -> [[S::F32; R]; R] {
    let mut out = [[s.splat(0.0); R]; R];
    for (frequencies, g) in frequencies.iter().zip(T::G) {
        let mut row = [s.splat(0.0); R];
        for (frequency, g) in frequencies.iter().zip(T::G) {
            for (row, g) in row.iter_mut().zip(g) {
                *row = s.mul_add(s.splat(g as f32), *frequency, *row);
            }
        }
        for (out, g) in out.iter_mut().zip(g) {
            for (out, row) in out.iter_mut().zip(row) {
                *out = s.mul_add(s.splat(g as f32), row, *out);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    struct Check<T, const N: usize, const M: usize, const R: usize>(std::marker::PhantomData<T>);

    /// Runs a transform on splats, and gives lane 0.
    fn lanes<S: Simd, const A: usize, const B: usize>(
        s: S,
        f: impl Fn([S::F32; A]) -> [S::F32; B],
        x: [f32; A],
    ) -> [f32; B] {
        f(x.map(|x| s.splat(x))).map(|v| {
            let mut out = [0.0f32; 16];
            // SAFETY: 16 values hold the widest vector.
            unsafe { s.store(out.as_mut_ptr(), v) };
            out[0]
        })
    }

    impl<T: Transform<N, M, R>, const N: usize, const M: usize, const R: usize> Kernel for Check<T, N, M, R> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let d: [f32; N] = std::array::from_fn(|i| (i as f32 * 1.7 + 0.3).sin());
            let w: [f32; R] = std::array::from_fn(|i| (i as f32 * 0.9 + 1.1).cos());
            let dy: [f32; M] = std::array::from_fn(|i| (i as f32 * 2.3 + 0.7).sin());
            let u: [f32; N] = std::array::from_fn(|i| (0..R).map(|r| T::G[i][r] as f32 * w[r]).sum());
            let v = lanes(s, |x| T::input(s, x), d);
            let y = lanes(s, |x| T::output(s, x), std::array::from_fn(|i| u[i] * v[i]));
            for m in 0..M {
                let want: f32 = (0..R).map(|r| d[m + r] * w[r]).sum();
                assert!((y[m] - want).abs() < 1e-5, "F({M},{R}) {}: y[{m}] = {} != {want}", S::ISA, y[m]);
            }
            let z = lanes(s, |x| T::output_adjoint(s, x), dy);
            for r in 0..R {
                let got: f32 = (0..N).map(|i| T::G[i][r] as f32 * v[i] * z[i]).sum();
                let want: f32 = (0..M).map(|m| d[m + r] * dy[m]).sum();
                assert!((got - want).abs() < 1e-5, "F({M},{R}) {}: dw[{r}] = {got} != {want}", S::ISA);
            }
        }
    }

    #[test]
    fn transforms_equal_a_direct_correlation() {
        for isa in Isa::available() {
            isa.dispatch(Check::<F4x3, 6, 4, 3>(std::marker::PhantomData));
            isa.dispatch(Check::<F2x3, 4, 2, 3>(std::marker::PhantomData));
            isa.dispatch(Check::<F4x4, 7, 4, 4>(std::marker::PhantomData));
            isa.dispatch(Check::<F4x5, 8, 4, 5>(std::marker::PhantomData));
        }
    }
}
