//! SIMD chosen at run time: one generic kernel body, three instruction sets.
//!
//! A kernel is a struct that holds its operands and implements [`Kernel::run`] once, over any [`Simd`] token.
//! [`Isa::dispatch`] calls that body inside a function compiled for the instruction set, so the body and all it inlines
//! use those instructions. No compiler flag is needed, and every path can run in one process. Tokens exist only if the
//! CPU has the instruction set, so safe code cannot execute an unsupported one.
//!
//! Rule for kernel authors: mark `run` and every helper that takes a token `#[inline(always)]`. Otherwise they are
//! compiled without the instruction set, and each vector operation becomes a call. [`Simd::outline`] is for helpers
//! that must not be inlined. Closures cannot be marked: use none around vector operations. Dispatch inside a parallel
//! closure, not around it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod math;
mod pair;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use pair::Pair;
pub use portable::Portable;

use std::fmt;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// What every CPU of the target has, through the `wide` crate.
    Portable,
    /// x86-64 with AVX2 and FMA: 8 lanes, 16 registers.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL: 16 lanes, 32 registers.
    Avx512,
}

/// An instruction set, for example from `KERNELS_ISA`, is unknown or not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The name is not one of the instruction sets.
    #[error("unknown instruction set `{0}`: expected portable, avx2 or avx512")]
    Unknown(String),
    /// The CPU lacks it.
    #[error("this CPU has no {0}; available: {list}", list = Isa::available().iter().map(Isa::to_string).collect::<Vec<_>>().join(", "))]
    Unavailable(Isa),
}

impl Isa {
    /// Every instruction set that this build knows.
    pub const ALL: [Isa; 3] = [Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// Whether the CPU has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The instruction sets that the CPU has, narrowest first.
    pub fn available() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The widest instruction set that the CPU has.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap_or(Isa::Portable)
    }

    /// The instruction set named by the environment variable `KERNELS_ISA`, or the best one if it is not set.
    ///
    /// # Errors
    /// [`IsaError`] if the variable names no instruction set, or one that the CPU lacks: a forced path that cannot run
    /// must not silently become another.
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var("KERNELS_ISA") {
            Ok(name) => name.parse(),
            Err(_) => Ok(Isa::best()),
        }
    }

    /// f32 lanes of a vector.
    pub const fn lanes(self) -> usize {
        match self {
            Isa::Portable | Isa::Avx2 => 8,
            Isa::Avx512 => 16,
        }
    }

    /// Whether the CPU computes vectors of 16 values at once. Those that have AVX-512 do, but for AMD's Zen 4 (family
    /// 19h), which takes two steps.
    pub fn is_wide(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Isa::Avx512 {
            return !avx512::takes_two_steps();
        }
        false
    }

    /// Runs `kernel` compiled for this instruction set.
    ///
    /// # Panics
    /// If the CPU lacks the instruction set.
    #[inline]
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Isa::Portable => kernel.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::new().expect("the CPU has AVX2 and FMA").dispatch(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::new().expect("the CPU has AVX-512").dispatch(kernel),
            #[cfg(not(target_arch = "x86_64"))]
            other => panic!("this build has no {other}"),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

impl std::str::FromStr for Isa {
    type Err = IsaError;
    fn from_str(name: &str) -> Result<Isa, IsaError> {
        let isa = Isa::ALL.into_iter().find(|isa| isa.to_string() == name);
        let isa = isa.ok_or_else(|| IsaError::Unknown(name.to_owned()))?;
        if isa.is_available() { Ok(isa) } else { Err(IsaError::Unavailable(isa)) }
    }
}

/// A kernel body that is generic over the instruction set.
pub trait Kernel {
    /// What the kernel returns.
    type Output;
    /// The body. Must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Values in the widest vector.
pub(crate) const MAX_LANES: usize = 16;

/// Vector operations of an instruction set on `LANES` f32 values. There are only those that the kernels need.
///
/// Values are IEEE 754 single precision. `mul_add` is fused on AVX2 and AVX-512, and a product and a sum on the
/// portable path, so results differ between instruction sets by rounding, but never between runs with the same one.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Self::LANES`] f32 values.
    type F32: Copy;
    /// One truth value per lane.
    type Mask: Copy;
    /// The number of a table's entry per lane.
    type Index: Copy;
    /// Values in a vector.
    const LANES: usize;
    /// The instruction set.
    const ISA: Isa;
    /// Entries of a table that [`lookup`](Self::lookup) reads: 8 or 16.
    const ENTRIES: usize;
    /// Adding it to an `x` in `-2^22..=2^22` rounds `x` to the nearest integer `n`; subtracting it again gives `n`. The
    /// low bits of the sum are those of `n`, as [`mul_exp2`](Self::mul_exp2) needs them.
    const ROUND: f32 = 12_582_912.0;

    /// Runs `kernel` in a separate function, compiled for this instruction set and never inlined. For inner loops that
    /// need every register: if they are inlined into a large caller, the compiler spills registers.
    fn outline<K: Kernel>(self, kernel: K) -> K::Output;

    /// `x`, of which the compiler knows no more than that. So it does not compute ahead what depends on it.
    #[inline(always)]
    fn opaque(self, x: usize) -> usize {
        x
    }

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The vector at `ptr`, of any alignment.
    ///
    /// # Safety
    /// `ptr` must be valid for reading `LANES` values.
    unsafe fn load(self, ptr: *const f32) -> Self::F32;
    /// Writes the vector to `ptr`, of any alignment.
    ///
    /// # Safety
    /// `ptr` must be valid for writing `LANES` values.
    unsafe fn store(self, ptr: *mut f32, x: Self::F32);
    /// The first `count <= LANES` lanes from `ptr`, the others 0.
    ///
    /// # Safety
    /// `ptr` must be valid for reading `count` values.
    unsafe fn load_partial(self, ptr: *const f32, count: usize) -> Self::F32;
    /// Writes the first `count <= LANES` lanes to `ptr`.
    ///
    /// # Safety
    /// `ptr` must be valid for writing `count` values.
    unsafe fn store_partial(self, ptr: *mut f32, x: Self::F32, count: usize);
    /// As [`load_partial`](Self::load_partial), and as fast as [`load`](Self::load) where `count` is `LANES`.
    ///
    /// # Safety
    /// `ptr` must be valid for reading `count` values.
    #[inline(always)]
    unsafe fn load_first(self, ptr: *const f32, count: usize) -> Self::F32 {
        // SAFETY: the caller's duty.
        unsafe { if count == Self::LANES { self.load(ptr) } else { self.load_partial(ptr, count) } }
    }
    /// As [`store_partial`](Self::store_partial), and as fast as [`store`](Self::store) where `count` is `LANES`.
    ///
    /// # Safety
    /// `ptr` must be valid for writing `count` values.
    #[inline(always)]
    unsafe fn store_first(self, ptr: *mut f32, x: Self::F32, count: usize) {
        // SAFETY: the caller's duty.
        unsafe { if count == Self::LANES { self.store(ptr, x) } else { self.store_partial(ptr, x, count) } }
    }

    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a * b`
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The smaller of both; `b` if either is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of both; `b` if either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Absolute value.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `-a`
    fn neg(self, a: Self::F32) -> Self::F32;
    /// `|a|` with the sign of `b`.
    fn copy_sign(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Square root.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `a 2^n` for `b = n + ROUND` with integral `n`, if `a` and the product are normal numbers; else the result is
    /// unspecified.
    fn mul_exp2(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The segment that `x` is in, and where it begins. There are [`ENTRIES`](Self::ENTRIES) segments of `2 <= x < 8`:
    /// half of them, of equal length, end at 4, and the others are twice as long. Any other `x` has some segment, too.
    fn segment(self, x: Self::F32) -> (Self::Index, Self::F32);
    /// The entry of `table` for every lane.
    ///
    /// # Panics
    /// If `table` does not have [`ENTRIES`](Self::ENTRIES) values.
    fn lookup(self, table: &[f32], index: Self::Index) -> Self::F32;
    /// Prefetches the cache line at `ptr`, which may be any address, into L2. Does nothing where there is no such
    /// instruction.
    #[inline(always)]
    fn prefetch(self, ptr: *const f32) {
        let _ = ptr;
    }
    /// `a < b`, false if either is NaN.
    fn less(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == a`: false for NaN only.
    fn is_number(self, a: Self::F32) -> Self::Mask;
    /// `a` where `mask`, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The sum of all lanes, in an order fixed by the instruction set.
    fn sum(self, a: Self::F32) -> f32;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Operations;

    impl Kernel for Operations {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            check_operations(s);
            check_operations(Pair(s));
        }
    }

    #[inline(always)]
    fn check_operations<S: Simd>(s: S) {
        let input: Vec<f32> = (0..S::LANES).map(|i| i as f32 * 0.75 - 3.1).collect();
        let other: Vec<f32> = (0..S::LANES).map(|i| 2.0 - i as f32 * 0.5).collect();
        // SAFETY: both hold LANES values.
        let (a, b) = unsafe { (s.load(input.as_ptr()), s.load(other.as_ptr())) };
        let check = |name: &str, v: S::F32, f: &dyn Fn(f32, f32) -> f32| {
            let mut out = vec![f32::NAN; S::LANES];
            // SAFETY: `out` holds LANES values.
            unsafe { s.store(out.as_mut_ptr(), v) };
            for i in 0..S::LANES {
                let want = f(input[i], other[i]);
                assert!((out[i] - want).abs() <= 1e-6 * want.abs().max(4.0), "{name} {}: {} != {want}", S::ISA, out[i]);
            }
        };
        check("splat", s.splat(2.5), &|_, _| 2.5);
        check("add", s.add(a, b), &|a, b| a + b);
        check("sub", s.sub(a, b), &|a, b| a - b);
        check("mul", s.mul(a, b), &|a, b| a * b);
        check("div", s.div(b, a), &|a, b| b / a);
        check("mul_add", s.mul_add(a, b, s.splat(9.0)), &|a, b| a * b + 9.0);
        check("neg_mul_add", s.neg_mul_add(a, b, s.splat(90.0)), &|a, b| 90.0 - a * b);
        check("min", s.min(a, b), &f32::min);
        check("max", s.max(a, b), &f32::max);
        check("abs", s.abs(a), &|a, _| a.abs());
        check("neg", s.neg(a), &|a, _| -a);
        check("copy_sign", s.copy_sign(a, b), &f32::copysign);
        check("sqrt", s.sqrt(s.abs(a)), &|a, _| a.abs().sqrt());
        let shifted = s.add(a, s.splat(S::ROUND));
        check("round", s.sub(shifted, s.splat(S::ROUND)), &|a, _| a.round_ties_even());
        check("mul_exp2", s.mul_exp2(a, shifted), &|a, _| a * a.round_ties_even().exp2());
        let table: Vec<f32> = (0..S::ENTRIES).map(|i| 1.5 * i as f32).collect();
        let places: Vec<f32> = (0..S::LANES).map(|i| 2.0 + 6.0 / S::LANES as f32 * i as f32).collect();
        // SAFETY: it holds LANES values.
        let (index, start) = s.segment(unsafe { s.load(places.as_ptr()) });
        // The number of the lane's segment, and where that begins.
        let segment = |a: f32| {
            let (place, half) = (places[input.iter().position(|&x| x == a).unwrap()], (S::ENTRIES / 2) as f32);
            let (begin, len) = if place < 4.0 { (2.0, 2.0 / half) } else { (4.0, 4.0 / half) };
            let behind = ((place - begin) / len).floor();
            (if place < 4.0 { behind } else { half + behind }, begin + len * behind)
        };
        check("lookup", s.lookup(&table, index), &|a, _| 1.5 * segment(a).0);
        check("segment", start, &|a, _| segment(a).1);
        check("less", s.select(s.less(a, b), a, b), &f32::min);
        let nan = s.splat(f32::NAN);
        check("less nan", s.select(s.less(nan, b), a, b), &|_, b| b);
        check("is_number", s.select(s.is_number(a), a, b), &|a, _| a);
        check("is_number nan", s.select(s.is_number(nan), a, b), &|_, b| b);
        check("min nan", s.min(nan, b), &|_, b| b);
        check("max nan", s.max(nan, b), &|_, b| b);
        check("nan kept", s.select(s.is_number(s.max(a, nan)), a, b), &|_, b| b);
        let sum: f32 = input.iter().sum();
        assert!((s.sum(a) - sum).abs() < 1e-4, "sum {}", S::ISA);
        for count in 0..=S::LANES {
            let mut out = vec![7.0; S::LANES];
            // SAFETY: both hold LANES >= count values.
            unsafe {
                let part = s.load_partial(input.as_ptr(), count);
                s.store(out.as_mut_ptr(), part);
            }
            assert!((0..S::LANES).all(|i| out[i] == if i < count { input[i] } else { 0.0 }));
            out.fill(7.0);
            // SAFETY: as above.
            unsafe { s.store_partial(out.as_mut_ptr(), a, count) };
            assert!((0..S::LANES).all(|i| out[i] == if i < count { input[i] } else { 7.0 }));
        }
    }

    #[test]
    fn every_operation_is_right_on_every_isa() {
        for isa in Isa::available() {
            isa.dispatch(Operations);
        }
    }

    #[test]
    fn names_are_parsed_and_refused() {
        assert_eq!("portable".parse(), Ok(Isa::Portable));
        assert_eq!("sse9".parse::<Isa>(), Err(IsaError::Unknown("sse9".to_owned())));
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse::<Isa>().is_ok(), isa.is_available());
        }
    }
}
