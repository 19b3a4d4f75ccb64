//! SIMD implementation of the [module documentation](super)'s equation.

use crate::loops::{Lanewise, map};
use crate::simd::Simd;
use crate::{Cpu, Write};

/// `y (+)= a b`; an input is `None` if `y` holds it.
pub(super) fn mul(cpu: &Cpu, factors: [Option<&[f32]>; 2], y: &mut [f32], write: Write) {
    map(cpu, Product, factors, y, write);
}

#[derive(Clone, Copy)]
struct Product;

impl Lanewise<2> for Product {
    #[inline(always)]
    fn eval<S: Simd>(self, s: S, [a, b]: [S::F32; 2]) -> S::F32 {
        s.mul(a, b)
    }
}
