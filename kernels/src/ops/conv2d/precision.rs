//! [`Precision`]

use super::params::Conv2dParams;
use std::fmt;

/// What convolutions on a GPU multiply. Sums are of 32 bits in any case, and so is all that is not a convolution.
///
/// Tensor cores multiply numbers of TF32, which has 10 bits of mantissa in place of 23. Their kernels need channels (of
/// a group) in multiples of four, and aligned operands; other convolutions stay in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32, on the FP32 units.
    #[default]
    F32,
    /// Operands as sums of two numbers of TF32, on tensor cores, for 3x3 kernels of stride 1. Of 24 bits, 22 or more
    /// are kept, and the product of the second numbers is left out: a product is off by at most 2^-21 of its magnitude,
    /// less than what f32's sums of some dozens are off by. What is infinite becomes NaN.
    Tf32x3,
    /// Operands rounded to TF32, on tensor cores. A product is off by at most about 2^-10 of its magnitude. Whole
    /// numbers up to 2048 are multiplied exactly.
    Tf32,
}

impl Precision {
    /// Largest relative error of an operand of a convolution.
    pub fn operand_error(self, p: &Conv2dParams) -> f64 {
        let in_fours = [p.c, p.k].iter().all(|channels| (channels / p.groups).is_multiple_of(4));
        match self {
            Precision::Tf32x3 if in_fours => 2f64.powi(-22),
            Precision::Tf32 if in_fours => 2f64.powi(-11),
            _ => 0.0,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Tf32x3 => "tf32x3",
            Precision::Tf32 => "tf32",
        })
    }
}
