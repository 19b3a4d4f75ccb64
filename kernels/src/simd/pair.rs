//! Two vectors as one, to keep the execution units busy.

use super::{Isa, Kernel, Simd};

/// Every operation of `S` on two vectors, one after the other.
///
/// An elementary function is a chain of about twenty dependent operations. A CPU's scheduler holds too few operations
/// to overlap many consecutive chains. If the code interleaves two chains, they take little longer than one.
#[derive(Clone, Copy, Debug)]
pub struct Pair<S>(pub S);

/// A kernel for a [`Pair`], run with one vector's token.
struct Paired<K>(K);

impl<K: Kernel> Kernel for Paired<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> K::Output {
        self.0.run(Pair(s))
    }
}

/// Defines operations that do the same to both halves.
macro_rules! both {
    ($($name:ident($($arg:ident),*);)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::F32),*) -> Self::F32 {
            [self.0.$name($($arg[0]),*), self.0.$name($($arg[1]),*)]
        }
    )*};
}

impl<S: Simd> Simd for Pair<S> {
    type F32 = [S::F32; 2];
    type Mask = [S::Mask; 2];
    type Index = [S::Index; 2];
    const LANES: usize = 2 * S::LANES;
    const ISA: Isa = S::ISA;
    const ENTRIES: usize = S::ENTRIES;

    fn outline<K: Kernel>(self, kernel: K) -> K::Output {
        self.0.outline(Paired(kernel))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F32 {
        [self.0.splat(x); 2]
    }
    #[inline(always)]
    unsafe fn load(self, ptr: *const f32) -> Self::F32 {
        // SAFETY: the caller's duty, for both halves.
        unsafe { [self.0.load(ptr), self.0.load(ptr.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store(self, ptr: *mut f32, x: Self::F32) {
        // SAFETY: the caller's duty, for both halves.
        unsafe {
            self.0.store(ptr, x[0]);
            self.0.store(ptr.add(S::LANES), x[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_partial(self, ptr: *const f32, count: usize) -> Self::F32 {
        let first = count.min(S::LANES);
        // SAFETY: the caller's duty; `first` and `count - first` values are `count`.
        unsafe { [self.0.load_partial(ptr, first), self.0.load_partial(ptr.add(first), count - first)] }
    }
    #[inline(always)]
    unsafe fn store_partial(self, ptr: *mut f32, x: Self::F32, count: usize) {
        let first = count.min(S::LANES);
        // SAFETY: as in `load_partial`.
        unsafe {
            self.0.store_partial(ptr, x[0], first);
            self.0.store_partial(ptr.add(first), x[1], count - first);
        }
    }

    both! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        mul_add(a, b, c);
        neg_mul_add(a, b, c);
        min(a, b);
        max(a, b);
        abs(a);
        neg(a);
        copy_sign(a, b);
        sqrt(a);
        mul_exp2(a, b);
    }

    #[inline(always)]
    fn segment(self, x: Self::F32) -> (Self::Index, Self::F32) {
        let (first, second) = (self.0.segment(x[0]), self.0.segment(x[1]));
        ([first.0, second.0], [first.1, second.1])
    }
    #[inline(always)]
    fn lookup(self, table: &[f32], index: Self::Index) -> Self::F32 {
        [self.0.lookup(table, index[0]), self.0.lookup(table, index[1])]
    }
    #[inline(always)]
    fn less(self, a: Self::F32, b: Self::F32) -> Self::Mask {
        [self.0.less(a[0], b[0]), self.0.less(a[1], b[1])]
    }
    #[inline(always)]
    fn is_number(self, a: Self::F32) -> Self::Mask {
        [self.0.is_number(a[0]), self.0.is_number(a[1])]
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32 {
        [self.0.select(mask[0], a[0], b[0]), self.0.select(mask[1], a[1], b[1])]
    }
    #[inline(always)]
    fn sum(self, a: Self::F32) -> f32 {
        self.0.sum(self.0.add(a[0], a[1]))
    }
}
