//! [`Element`]: the numbers that backends compute with.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// A number that a backend computes with: f32, or f64 in [`Reference`](crate::Reference). Functions are those of the
/// standard library.
pub trait Element:
    bytemuck::Pod
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The same value.
    fn to_f64(self) -> f64;
    /// `e` to this power.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine of an angle in radians.
    fn sin(self) -> Self;
    /// Cosine of an angle in radians.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of two; if one is NaN, the other one.
    fn max(self, other: Self) -> Self;
    /// The smaller of two; if one is NaN, the other one.
    fn min(self, other: Self) -> Self;
}

macro_rules! element {
    ($float:ident) => {
        impl Element for $float {
            const ZERO: $float = 0.0;
            const ONE: $float = 1.0;
            fn from_f64(x: f64) -> $float {
                x as $float
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            element!($float: exp ln sqrt sin cos tanh abs);
            fn max(self, other: $float) -> $float {
                $float::max(self, other)
            }
            fn min(self, other: $float) -> $float {
                $float::min(self, other)
            }
        }
    };
    ($float:ident: $($function:ident)*) => {
        $(fn $function(self) -> $float {
            $float::$function(self)
        })*
    };
}

element!(f32);
element!(f64);

#[cfg(test)]
mod tests {
    use super::Element;

    fn functions<T: Element>() -> Vec<T> {
        let x = T::from_f64(0.75);
        let two = T::ONE + T::ONE;
        let mut y = T::ZERO;
        y += two;
        y *= two;
        y -= T::ONE;
        y /= two;
        vec![x.exp(), x.ln(), x.sqrt(), x.sin(), x.cos(), x.tanh(), (-x).abs(), x.max(two), x.min(two), y]
    }

    /// The numbers are Python's.
    #[test]
    fn functions_are_what_their_names_say_in_both_precisions() {
        let expected = [
            2.117000016612675,
            -0.2876820724517809,
            0.8660254037844386,
            0.6816387600233341,
            0.7316888688738209,
            0.6351489523872873,
            0.75,
            2.0,
            0.75,
            1.5,
        ];
        for (i, expected) in expected.into_iter().enumerate() {
            let (single, double) = (f64::from(functions::<f32>()[i]), functions::<f64>()[i]);
            assert!((double - expected).abs() < 1e-15 && (single - expected).abs() < 2e-7, "{i}: {double} {single}");
        }
    }
}
