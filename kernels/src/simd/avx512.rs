//! AVX-512 (F, DQ, BW, VL): 16 lanes, mask registers.

use super::{Isa, Kernel, Simd};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, DQ, BW and VL, and AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx512 {
    _private: (),
}

impl Avx512 {
    /// The token, if the CPU has the features.
    #[inline]
    pub fn new() -> Option<Avx512> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma"))
        .then_some(Avx512 { _private: () })
    }

    #[inline]
    pub(super) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn shim<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token proves the features.
        unsafe { shim(self, kernel) }
    }
}

/// Whether the CPU is one of AMD's family 19h, as CPUID tells: Zen 4 is the only one of these with AVX-512.
pub(super) fn takes_two_steps() -> bool {
    let [vendor, signature] = [0, 1].map(__cpuid);
    let family = (signature.eax >> 8 & 0xf) + (signature.eax >> 20 & 0xff);
    // "AuthenticAMD"
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD" && family == 0x19
}

#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    debug_assert!(count <= 16);
    ((1u32 << count) - 1) as __mmask16
}

/// Defines operations that forward to one intrinsic.
macro_rules! forward {
    ($($name:ident($($arg:ident),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::F32),*) -> $ret {
            // SAFETY: the token proves that the CPU has AVX-512.
            unsafe { $body }
        }
    )*};
}

impl Simd for Avx512 {
    type F32 = __m512;
    type Mask = __mmask16;
    type Index = __m512i;
    const LANES: usize = 16;
    const ENTRIES: usize = 16;
    const ISA: Isa = Isa::Avx512;

    // Not on the shim itself: rustc (1.95) drops `inline(never)` from a function that enables target features.
    #[inline(never)]
    fn outline<K: Kernel>(self, kernel: K) -> K::Output {
        self.dispatch(kernel)
    }

    #[inline(always)]
    fn opaque(self, mut x: usize) -> usize {
        // SAFETY: no instruction.
        unsafe { std::arch::asm!("/* {0} */", inout(reg) x, options(nomem, nostack, preserves_flags)) };
        x
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves that the CPU has AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, ptr: *const f32) -> __m512 {
        // SAFETY: the caller's duty.
        unsafe { _mm512_loadu_ps(ptr) }
    }
    #[inline(always)]
    unsafe fn store(self, ptr: *mut f32, x: __m512) {
        // SAFETY: the caller's duty.
        unsafe { _mm512_storeu_ps(ptr, x) }
    }
    #[inline(always)]
    fn prefetch(self, ptr: *const f32) {
        // SAFETY: a prefetch of any address has no effect but on the caches, and SSE is in every x86-64 CPU.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(ptr.cast()) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, ptr: *const f32, count: usize) -> __m512 {
        // SAFETY: masked lanes are not read; the others are the caller's duty.
        unsafe { _mm512_maskz_loadu_ps(mask(count), ptr) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, ptr: *mut f32, x: __m512, count: usize) {
        // SAFETY: masked lanes are not written; the others are the caller's duty.
        unsafe { _mm512_mask_storeu_ps(ptr, mask(count), x) }
    }

    forward! {
        add(a, b) -> __m512 = _mm512_add_ps(a, b);
        sub(a, b) -> __m512 = _mm512_sub_ps(a, b);
        mul(a, b) -> __m512 = _mm512_mul_ps(a, b);
        div(a, b) -> __m512 = _mm512_div_ps(a, b);
        mul_add(a, b, c) -> __m512 = _mm512_fmadd_ps(a, b, c);
        neg_mul_add(a, b, c) -> __m512 = _mm512_fnmadd_ps(a, b, c);
        min(a, b) -> __m512 = _mm512_min_ps(a, b);
        max(a, b) -> __m512 = _mm512_max_ps(a, b);
        abs(a) -> __m512 = _mm512_abs_ps(a);
        neg(a) -> __m512 = _mm512_xor_ps(_mm512_set1_ps(-0.0), a);
        copy_sign(a, b) -> __m512 = {
            let sign = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b))
        };
        sqrt(a) -> __m512 = _mm512_sqrt_ps(a);
        mul_exp2(a, b) -> __m512 = {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponent))
        };
        less(a, b) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        is_number(a) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, a);
        sum(a) -> f32 = _mm512_reduce_add_ps(a);
    }

    #[inline(always)]
    fn segment(self, x: __m512) -> (__m512i, __m512) {
        // The last bit of the exponent and three bits of the fraction number the segment.
        const SHIFT: u32 = 20;
        // SAFETY: the token proves that the CPU has AVX-512.
        unsafe {
            let bits = _mm512_castps_si512(x);
            let start = _mm512_and_si512(bits, _mm512_set1_epi32(-1 << SHIFT));
            (_mm512_srli_epi32::<SHIFT>(bits), _mm512_castsi512_ps(start))
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32], index: __m512i) -> __m512 {
        assert_eq!(table.len(), Self::ENTRIES);
        // SAFETY: the table has 16 values. The instruction ignores all but the last four bits of an index.
        unsafe { _mm512_permutexvar_ps(index, _mm512_loadu_ps(table.as_ptr())) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the CPU has AVX-512.
        unsafe { _mm512_mask_blend_ps(mask, b, a) }
    }
}
