//! GELU from tables.
//!
//! A table has the coefficients of a polynomial for each segment of `0 <= a < 6`; a vector of them stays in a register,
//! and every lane takes that of its segment (as in "Elementary functions: algorithms and implementation", Muller 2016,
//! chapter 6). With AVX-512, this costs half of what an exponential and a quotient do, with AVX2 two thirds.
//!
//! Polynomials are minimax fits, by iteratively reweighted least squares (Lawson 1961). The first coefficient is
//! rounded to f32, then the others are fitted anew, and so on. At `a = 6` the tail is exactly 0 and the slope exactly
//! 1/2, and both stay so beyond. The largest errors, rounding included: 2e-7 of `f(x)` for `x > 0`, 1.1e-7 of `|x|`
//! for `x < 0`, 2.9e-7 of the derivative.

use super::function::Function;
use super::smooth::{magnitude, positive_part};
use crate::simd::Simd;

/// `f(x) = x Phi(x)` with the standard normal distribution `Phi`. As `Phi(x) = 1 - Phi(-x)`, this is
/// `max(x, 0) - a Phi(-a)` with `a = |x|`.
#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let a = magnitude(s, x, LIMIT);
        s.neg_mul_add(a, TAIL.eval(s, a), positive_part(s, x))
    }

    /// `f'(x) = 1/2 + g(x)`, where `g` is odd.
    #[inline(always)]
    fn derivative<S: Simd>(self, s: S, x: S::F32) -> S::F32 {
        let slope = SLOPE.eval(s, magnitude(s, x, LIMIT));
        s.add(s.splat(0.5), s.copy_sign(slope, x))
    }
}

/// Where the tables end.
const LIMIT: f32 = 6.0;

/// A function of `0 <= a <= LIMIT`, by segments: for each power of the distance from the segment's beginning, the
/// coefficient in every segment.
struct Table<const POWERS_8: usize, const POWERS_16: usize> {
    /// For vectors with [`Simd::ENTRIES`] of 8.
    of_8: [[f32; 8]; POWERS_8],
    /// For vectors with [`Simd::ENTRIES`] of 16.
    of_16: [[f32; 16]; POWERS_16],
}

impl<const POWERS_8: usize, const POWERS_16: usize> Table<POWERS_8, POWERS_16> {
    #[inline(always)]
    fn eval<S: Simd>(&self, s: S, a: S::F32) -> S::F32 {
        // `a + 2`, and somewhat less than 8 where `a` is 6: that has a segment.
        let (segment, start) = s.segment(s.mul_add(a, s.splat(1.0 - 1.0 / 1048576.0), s.splat(2.0)));
        let distance = s.sub(a, s.sub(start, s.splat(2.0)));
        if S::ENTRIES == 16 {
            horner(s, &self.of_16, segment, distance)
        } else {
            horner(s, &self.of_8, segment, distance)
        }
    }
}

/// The polynomial of every lane's segment.
#[inline(always)]
fn horner<S: Simd, const N: usize, const POWERS: usize>(
    s: S,
    coefficients: &[[f32; N]; POWERS],
    segment: S::Index,
    distance: S::F32,
) -> S::F32 {
    let mut sum = s.lookup(&coefficients[POWERS - 1], segment);
    for row in coefficients[..POWERS - 1].iter().rev() {
        sum = s.mul_add(sum, distance, s.lookup(row, segment));
    }
    sum
}

/// `Phi(-a)`
#[rustfmt::skip] // a line a power
static TAIL: Table<7, 5> = Table {
    of_8: [
        [0.5, 0.30853754, 0.15865526, 0.0668072, 0.022750169, 0.0013498954, 3.166988e-05, 2.8557406e-07],
        [-0.39894265, -0.3520658, -0.24197087, -0.12951781, -0.053994477, -0.0044316277, -1.3369486e-04, -1.4815996e-06],
        [1.0171889e-05, 0.08802567, 0.12098617, 0.0971424, 0.05404535, 0.0066448073, 2.6544306e-04, 3.6295512e-06],
        [0.06638543, 0.04394013, 1.6043443e-05, -0.027010951, -0.027313624, -0.005895148, -3.2076545e-04, -5.37747e-06],
        [5.344203e-04, -0.019947954, -0.020351093, -0.0060086744, 0.005387178, 0.003298985, 2.4812378e-04, 4.975578e-06],
        [-0.011422595, -0.004919742, 0.0047749216, 0.005928817, 9.901349e-04, -0.001109333, -1.1416056e-04, -2.6402008e-06],
        [0.0020285312, 0.0033388692, 7.3977065e-04, -0.0010962905, -5.148584e-04, 1.7409424e-04, 2.3671906e-05, 6.0856723e-07],
    ],
    of_16: [
        [0.5, 0.40129367, 0.30853754, 0.22662736, 0.15865527, 0.105649784, 0.06680721, 0.040059164, 0.022750167, 0.0062095914, 0.001349841, 2.3260654e-04, 3.166543e-05, 3.3966203e-06, 2.8651314e-07, 1.7977168e-08],
        [-0.3989368, -0.3866653, -0.35206485, -0.3011393, -0.24197356, -0.18265145, -0.12951961, -0.086278714, -0.053994913, -0.017521266, -0.0044261944, -8.7039813e-04, -1.3323092e-04, -1.5873633e-05, -1.4720528e-06, -1.062533e-07],
        [-1.5887029e-04, 0.04824222, 0.08799096, 0.11297233, 0.12106353, 0.11423163, 0.097203694, 0.075536706, 0.054063704, 0.021802375, 0.006556955, 0.0014896484, 2.5763776e-04, 3.409404e-05, 3.464319e-06, 2.7097818e-07],
        [0.06807733, 0.06144271, 0.044362422, 0.021574588, -7.777337e-04, -0.017970223, -0.027724849, -0.030155357, -0.027490787, -0.014760774, -0.0053915773, -0.0014155642, -2.7425573e-04, -3.9798033e-05, -4.3663545e-06, -3.6447776e-07],
        [-0.006628999, -0.016632063, -0.022162382, -0.02179909, -0.017006243, -0.009836746, -0.0026086867, 0.0027581642, 0.006037609, 0.004728067, 0.0020902776, 6.2107056e-04, 1.3160634e-04, 2.0464633e-05, 2.373491e-06, 2.0743457e-07],
    ],
};

/// `f'(a) - 1/2 = 1/2 - Phi(-a) + a phi(a)` with the density `phi`.
#[rustfmt::skip] // a line a power
static SLOPE: Table<7, 6> = Table {
    of_8: [
        [0.0, 0.36749512, 0.5833155, 0.6274692, 0.5852316, 0.5119457, 0.50050366, 0.5000071],
        [0.7978855, 0.6161142, 0.24196726, -0.032377888, -0.10796181, -0.03102996, -0.0018740902, -3.4544595e-05],
        [-3.6496866e-05, -0.33004874, -0.362863, -0.17002809, -3.352548e-04, 0.03334452, 0.003215286, 8.1725244e-05],
        [-0.265477, -0.13588226, 0.07971472, 0.14467552, 0.07410515, -0.01686299, -0.0033065048, -1.2517633e-04],
        [-0.002972524, 0.113465324, 0.0852089, -0.014898524, -0.05144634, 0.0017239933, 0.002177592, 1.2871741e-04],
        [0.06915799, 0.015141143, -0.04762687, -0.027231012, 0.013018589, 0.002137703, -8.7199773e-04, -7.890728e-05],
        [-0.014672753, -0.019457933, 0.0053940853, 0.010000843, -6.6610624e-04, -7.5537903e-04, 1.6321194e-04, 2.1083768e-05],
    ],
    of_16: [
        [0.0, 0.19537336, 0.36749512, 0.49922574, 0.5833155, 0.6226616, 0.6274692, 0.61092615, 0.5852318, 0.5376111, 0.51194566, 0.50282174, 0.50050366, 0.50006855, 0.50000715, 0.5000006],
        [0.7978844, 0.7491689, 0.6161146, 0.43288204, 0.24196647, 0.07990763, -0.032377172, -0.091669425, -0.10797863, -0.0744999, -0.031025328, -0.008943461, -0.0018744454, -2.93245e-04, -3.4735345e-05, -5.2912164e-06],
        [9.012899e-06, -0.1902835, -0.33005404, -0.38807902, -0.3628182, -0.2782167, -0.17007032, -0.07078786, -8.419221e-05, 0.04938732, 0.033291828, 0.012577456, 0.003222891, 6.077791e-04, 8.636117e-05, 4.347291e-05],
        [-0.26612127, -0.2303495, -0.13601658, -0.020369219, 0.079072796, 0.13651802, 0.14535742, 0.1161339, 0.072778784, 0.0013521787, -0.016692204, -0.00983735, -0.003346195, -8.465119e-04, -1.5640132e-04, -2.1141514e-04],
        [0.0011581813, 0.07367687, 0.11583627, 0.1218096, 0.088330604, 0.032006506, -0.019246336, -0.041783135, -0.048460536, -0.01912959, 0.0017154184, 0.004140063, 0.0022230356, 8.498573e-04, 2.0278391e-04, 4.6585195e-04],
        [0.056639697, 0.034490775, 0.0031789055, -0.03420044, -0.051161144, -0.03982347, -0.015730789, -0.0042297523, 0.0102745555, 0.008455297, 0.0014439016, -6.3349586e-04, -7.7774824e-04, -4.4922097e-04, -1.2579103e-04, -3.6779247e-04],
    ],
};
