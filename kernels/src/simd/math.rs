//! Elementary functions on vectors, for the ranges that the activations need.
//!
//! Polynomials are minimax fits of the relative error of the function: Remez exchange algorithm with 40 digits
//! (mpmath), coefficients rounded to f32 once. The error stated for a function is its largest relative error, rounding
//! included; tests measure it densely over the range, on every instruction set. Half a unit in the last place is at
//! most 6e-8. NaN gives NaN.

use super::Simd;

/// `c[0] + c[1] x + c[2] x^2 + ...`, from `x` and `x^2`. Horner's rule in `x^2` with linear coefficients: the chain of
/// dependent operations is half as long as with Horner's rule in `x`.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, square: S::F32, c: [f32; N]) -> S::F32 {
    let mut k = (N - 1) & !1;
    let mut sum = if k + 1 < N { s.mul_add(x, s.splat(c[k + 1]), s.splat(c[k])) } else { s.splat(c[k]) };
    while k > 0 {
        k -= 2;
        sum = s.mul_add(sum, square, s.mul_add(x, s.splat(c[k + 1]), s.splat(c[k])));
    }
    sum
}

/// `ln 2` as a sum of two terms. The first has 15 bits, so that its product with an exponent is exact.
const LN_2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];

/// `(e, n + ROUND)` with `exp(x) = 2^n (1 + e)` and `|e| < 0.42`, for `x` in `[-87, 0]`.
///
/// `n` is the nearest integer to `x / ln 2`, and `e = r + r^2 P(r)` with `r = x - n ln 2`. `P` is fitted to a relative
/// error of 1.4e-8 of `e`, so that `exp(x) - 1` is precise where it is small.
#[inline(always)]
fn reduced_expm1<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let shifted = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(S::ROUND));
    let n = s.sub(shifted, s.splat(S::ROUND));
    let r = s.neg_mul_add(n, s.splat(LN_2[0]), x);
    let r = s.neg_mul_add(n, s.splat(LN_2[1]), r);
    let square = s.mul(r, r);
    let p = polynomial(s, r, square, [0.499_999_98, 0.166_665_44, 0.041_667_2, 0.008_366_527, 0.001_388_252_1]);
    (s.mul_add(square, p, r), shifted)
}

/// `exp(x)` for `x` in `[-87, 0]`. Error 9e-8.
#[inline(always)]
pub fn exp_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (e, shifted) = reduced_expm1(s, x);
    s.mul_exp2(s.add(s.splat(1.0), e), shifted)
}

/// `exp(x) - 1` for `x` in `[-87, 0]`. Error 9e-8.
#[inline(always)]
pub fn expm1_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let (e, shifted) = reduced_expm1(s, x);
    let one = s.splat(1.0);
    let scale = s.mul_exp2(one, shifted);
    s.mul_add(scale, e, s.sub(scale, one))
}

/// `ln(1 + u)` for `u` in `[0, 1]`. Error 1.7e-7.
///
/// `2 atanh(v) = 2 v + v^3 P(v^2)` with `v = u / (2 + u)`; the fit has an error of 4.5e-9.
#[inline(always)]
pub fn log1p_unit<S: Simd>(s: S, u: S::F32) -> S::F32 {
    let v = s.div(u, s.add(s.splat(2.0), u));
    let square = s.mul(v, v);
    let p = polynomial(s, square, s.mul(square, square), [0.666_664_2, 0.400_215_27, 0.280_018_06, 0.280_119_9]);
    s.mul_add(s.mul(v, square), p, s.add(v, v))
}

/// Where [`tanhshrink_near_0`] ends.
pub const TANHSHRINK_NEAR: f32 = 0.9;

/// `x - tanh(x)` for `|x| < 0.9`. Error 5e-7, of which the fit has 2.5e-7.
#[inline(always)]
pub fn tanhshrink_near_0<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let square = s.mul(x, x);
    let p = polynomial(
        s,
        square,
        s.mul(square, square),
        [0.333_333_25, -0.133_325_92, 0.053_858_92, -0.021_264_9, 0.007_283_856, -0.001_487_414_6],
    );
    s.mul(s.mul(x, square), p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel};

    /// A function of this module.
    trait Function: Copy {
        fn eval<S: Simd>(self, s: S, x: S::F32) -> S::F32;
    }

    /// The function of every input.
    struct Map<'a, F>(F, &'a [f32]);

    impl<F: Function> Kernel for Map<'_, F> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<f32> {
            let mut out = vec![0.0; self.1.len()];
            for (x, y) in self.1.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
                // SAFETY: both chunks have as many elements.
                unsafe {
                    s.store_partial(y.as_mut_ptr(), self.0.eval(s, s.load_partial(x.as_ptr(), x.len())), x.len())
                };
            }
            out
        }
    }

    /// Asserts that `f` is `exact` to within a relative error on every instruction set, over all magnitudes in `range`.
    fn check(f: impl Function, range: [f32; 2], exact: fn(f64) -> f64, bound: f64) {
        let inside = |x: f32| (range[0]..=range[1]).contains(&x);
        let dense = (0..=500_000).map(|i| range[0] + (range[1] - range[0]) * (i as f32 / 500_000.0));
        let every_magnitude = (0..u32::MAX / 50_021).map(|i| f32::from_bits(i * 50_021));
        let inputs: Vec<f32> = dense.chain(every_magnitude).chain([-0.0, 0.0]).filter(|&x| inside(x)).collect();
        for isa in Isa::available() {
            let got = isa.dispatch(Map(f, &inputs));
            let mut largest: f64 = 0.0;
            for (&x, got) in inputs.iter().zip(got) {
                let want = exact(f64::from(x));
                // Below, f32 has fewer digits.
                if want.abs() >= f64::from(f32::MIN_POSITIVE) {
                    let error = (f64::from(got) / want - 1.0).abs();
                    largest = largest.max(error);
                    assert!(error <= bound, "{isa}: f({x:e}) is {got:e}, not {want:e}: {error:e} above {bound:e}");
                } else {
                    assert!(got.abs() <= f32::MIN_POSITIVE, "{isa}: f({x:e}) is {got:e}, not {want:e}");
                }
            }
            println!("{isa}: {largest:e}");
            assert!(isa.dispatch(Map(f, &[f32::NAN]))[0].is_nan(), "{isa}: NaN");
        }
    }

    macro_rules! function {
        ($name:ident) => {{
            #[derive(Clone, Copy)]
            struct Named;
            impl Function for Named {
                #[inline(always)]
                fn eval<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
                    $name(s, x)
                }
            }
            Named
        }};
    }

    #[test]
    fn exp_is_precise() {
        check(function!(exp_nonpositive), [-87.0, 0.0], f64::exp, 9e-8);
    }

    #[test]
    fn expm1_is_precise() {
        check(function!(expm1_nonpositive), [-87.0, 0.0], f64::exp_m1, 9e-8);
    }

    #[test]
    fn log1p_is_precise() {
        check(function!(log1p_unit), [0.0, 1.0], f64::ln_1p, 1.7e-7);
    }

    #[test]
    fn tanhshrink_is_precise() {
        // Near 0, `x - tanh(x)` in f64 loses too many digits; the series does not.
        let exact = |x: f64| {
            if x.abs() > 0.02 {
                x - x.tanh()
            } else {
                x.powi(3) / 3.0 - 2.0 / 15.0 * x.powi(5) + 17.0 / 315.0 * x.powi(7)
            }
        };
        check(function!(tanhshrink_near_0), [-TANHSHRINK_NEAR, TANHSHRINK_NEAR], exact, 5e-7);
    }
}
