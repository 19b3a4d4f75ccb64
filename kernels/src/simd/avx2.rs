//! AVX2 with FMA: 8 lanes.

use super::{Isa, Kernel, Simd};
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2 {
    _private: (),
}

impl Avx2 {
    /// The token, if the CPU has AVX2 and FMA.
    #[inline]
    pub fn new() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2 { _private: () })
    }

    #[inline]
    pub(super) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn shim<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
            kernel.run(token)
        }
        // SAFETY: the token proves the features.
        unsafe { shim(self, kernel) }
    }
}

/// `MASKS[8 - n..]` has n lanes set.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn mask(count: usize) -> __m256i {
    debug_assert!(count <= 8);
    // SAFETY: AVX is there, and `8 - count..16 - count` is inside the table.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(8 - count).cast()) }
}

/// Defines operations that forward to one intrinsic.
macro_rules! forward {
    ($($name:ident($($arg:ident),*) -> $ret:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::F32),*) -> $ret {
            // SAFETY: the token proves that the CPU has AVX2 and FMA.
            unsafe { $body }
        }
    )*};
}

impl Simd for Avx2 {
    type F32 = __m256;
    type Mask = __m256;
    type Index = __m256i;
    const LANES: usize = 8;
    const ENTRIES: usize = 8;
    const ISA: Isa = Isa::Avx2;

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
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves that the CPU has AVX2.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, ptr: *const f32) -> __m256 {
        // SAFETY: the caller's duty.
        unsafe { _mm256_loadu_ps(ptr) }
    }
    #[inline(always)]
    unsafe fn store(self, ptr: *mut f32, x: __m256) {
        // SAFETY: the caller's duty.
        unsafe { _mm256_storeu_ps(ptr, x) }
    }
    #[inline(always)]
    fn prefetch(self, ptr: *const f32) {
        // SAFETY: a prefetch of any address has no effect but on the caches, and SSE is in every x86-64 CPU.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(ptr.cast()) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, ptr: *const f32, count: usize) -> __m256 {
        // SAFETY: masked lanes are not read; the others are the caller's duty.
        unsafe { _mm256_maskload_ps(ptr, mask(count)) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, ptr: *mut f32, x: __m256, count: usize) {
        // SAFETY: masked lanes are not written; the others are the caller's duty.
        unsafe { _mm256_maskstore_ps(ptr, mask(count), x) }
    }

    forward! {
        add(a, b) -> __m256 = _mm256_add_ps(a, b);
        sub(a, b) -> __m256 = _mm256_sub_ps(a, b);
        mul(a, b) -> __m256 = _mm256_mul_ps(a, b);
        div(a, b) -> __m256 = _mm256_div_ps(a, b);
        mul_add(a, b, c) -> __m256 = _mm256_fmadd_ps(a, b, c);
        neg_mul_add(a, b, c) -> __m256 = _mm256_fnmadd_ps(a, b, c);
        min(a, b) -> __m256 = _mm256_min_ps(a, b);
        max(a, b) -> __m256 = _mm256_max_ps(a, b);
        abs(a) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        neg(a) -> __m256 = _mm256_xor_ps(_mm256_set1_ps(-0.0), a);
        copy_sign(a, b) -> __m256 = {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        };
        sqrt(a) -> __m256 = _mm256_sqrt_ps(a);
        mul_exp2(a, b) -> __m256 = {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(b));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent))
        };
        less(a, b) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        is_number(a) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, a);
        sum(a) -> f32 = {
            let quad = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pair = _mm_add_ps(quad, _mm_movehl_ps(quad, quad));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        };
    }

    #[inline(always)]
    fn segment(self, x: __m256) -> (__m256i, __m256) {
        // The last bit of the exponent and two bits of the fraction number the segment.
        const SHIFT: i32 = 21;
        // SAFETY: the token proves that the CPU has AVX2.
        unsafe {
            let bits = _mm256_castps_si256(x);
            let start = _mm256_and_si256(bits, _mm256_set1_epi32(-1 << SHIFT));
            (_mm256_srli_epi32::<SHIFT>(bits), _mm256_castsi256_ps(start))
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[f32], index: __m256i) -> __m256 {
        assert_eq!(table.len(), Self::ENTRIES);
        // SAFETY: the table has 8 values. The instruction ignores all but the last three bits of an index.
        unsafe { _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.as_ptr()), index) }
    }
    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves that the CPU has AVX2.
        unsafe { _mm256_blendv_ps(b, a, mask) }
    }
}
