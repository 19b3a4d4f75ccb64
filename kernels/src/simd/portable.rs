//! Any CPU, through the `wide` crate: 8 lanes.

use super::{Isa, Kernel, Simd};
use wide::{f32x8, u32x8};

/// The token of the portable path, which every CPU has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    type F32 = f32x8;
    type Mask = f32x8;
    type Index = u32x8;
    const LANES: usize = 8;
    const ENTRIES: usize = 8;
    const ISA: Isa = Isa::Portable;

    #[inline(never)]
    fn outline<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> f32x8 {
        f32x8::splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, ptr: *const f32) -> f32x8 {
        // SAFETY: the caller's duty; the array has no alignment above that of f32.
        f32x8::new(unsafe { ptr.cast::<[f32; 8]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, ptr: *mut f32, x: f32x8) {
        // SAFETY: the caller's duty.
        unsafe { ptr.cast::<[f32; 8]>().write(x.to_array()) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, ptr: *const f32, count: usize) -> f32x8 {
        debug_assert!(count <= 8);
        let mut lanes = [0.0; 8];
        // SAFETY: `count` values are readable by the caller's duty, and fit the array.
        unsafe { std::ptr::copy_nonoverlapping(ptr, lanes.as_mut_ptr(), count) };
        f32x8::new(lanes)
    }
    #[inline(always)]
    unsafe fn store_partial(self, ptr: *mut f32, x: f32x8, count: usize) {
        debug_assert!(count <= 8);
        // SAFETY: `count` values are writable by the caller's duty, and are in the array.
        unsafe { std::ptr::copy_nonoverlapping(x.to_array().as_ptr(), ptr, count) };
    }
    #[inline(always)]
    fn add(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x8, b: f32x8) -> f32x8 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x8, b: f32x8) -> f32x8 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a * b + c
    }
    #[inline(always)]
    fn neg_mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        c - a * b
    }
    #[inline(always)]
    fn min(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_lt(b).select(a, b)
    }
    #[inline(always)]
    fn max(self, a: f32x8, b: f32x8) -> f32x8 {
        b.simd_lt(a).select(a, b)
    }
    #[inline(always)]
    fn abs(self, a: f32x8) -> f32x8 {
        a.abs()
    }
    #[inline(always)]
    fn neg(self, a: f32x8) -> f32x8 {
        -a
    }
    #[inline(always)]
    fn copy_sign(self, a: f32x8, b: f32x8) -> f32x8 {
        a.abs() | (b & f32x8::splat(-0.0))
    }
    #[inline(always)]
    fn sqrt(self, a: f32x8) -> f32x8 {
        a.sqrt()
    }
    #[inline(always)]
    fn mul_exp2(self, a: f32x8, b: f32x8) -> f32x8 {
        let (a, b): (u32x8, u32x8) = (bytemuck::cast(a), bytemuck::cast(b));
        bytemuck::cast(a + (b << 23))
    }
    #[inline(always)]
    fn segment(self, x: f32x8) -> (u32x8, f32x8) {
        // The last bit of the exponent and two bits of the fraction number the segment.
        const SHIFT: u32 = 21;
        let bits: u32x8 = bytemuck::cast(x);
        (bits >> SHIFT, bytemuck::cast(bits & u32x8::splat(!0 << SHIFT)))
    }
    #[inline(always)]
    fn lookup(self, table: &[f32], index: u32x8) -> f32x8 {
        let table: &[f32; 8] = table.try_into().expect("a table of 8 values");
        f32x8::new(index.to_array().map(
            #[inline(always)]
            |i| table[i as usize % 8],
        ))
    }
    #[inline(always)]
    fn less(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn is_number(self, a: f32x8) -> f32x8 {
        a.simd_eq(a)
    }
    #[inline(always)]
    fn select(self, mask: f32x8, a: f32x8, b: f32x8) -> f32x8 {
        mask.select(a, b)
    }
    #[inline(always)]
    fn sum(self, a: f32x8) -> f32 {
        let [a, b, c, d, e, f, g, h] = a.to_array();
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}
