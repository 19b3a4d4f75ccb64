//! Passes that compute every element in the same way.

use super::for_rows;
use crate::simd::{Kernel, Pair, Simd};
use crate::{Cpu, Write};

/// A function of the same lane of `N` operands.
pub(crate) trait Lanewise<const N: usize>: Copy + Send + Sync {
    /// The function. Must be `#[inline(always)]`.
    fn eval<S: Simd>(self, s: S, inputs: [S::F32; N]) -> S::F32;
}

/// `out (+)= f(inputs)` for every element. An input that is `None` is the old value of `out`.
pub(crate) fn map<const N: usize, F: Lanewise<N>>(
    cpu: &Cpu,
    f: F,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    let len = out.len();
    assert!(inputs.iter().flatten().all(|input| input.len() == len), "operands of unequal length");
    for_rows(cpu, out, 1, 1, |elements, out| {
        let inputs = inputs.map(|input| input.map(|x| &x[elements.clone()]));
        cpu.isa.dispatch(Flat { f, inputs, out, write });
    });
}

/// One task of [`map`].
struct Flat<'a, F, const N: usize> {
    f: F,
    inputs: [Option<&'a [f32]>; N],
    out: &'a mut [f32],
    write: Write,
}

impl<const N: usize, F: Lanewise<N>> Flat<'_, F, N> {
    /// Computes all whole vectors of `start..len`, and returns where they end.
    ///
    /// # Safety
    /// Every pointer must be valid for `len` elements, and an input be `out` or not overlap it.
    #[inline(always)]
    unsafe fn vectors<S: Simd>(&self, s: S, inputs: [*const f32; N], out: *mut f32, start: usize, len: usize) -> usize {
        let mut i = start;
        while i + S::LANES <= len {
            let mut values = [s.splat(0.0); N];
            // SAFETY: LANES elements at `i` are inside every operand; those of an input that is `out` are read before
            // they are written.
            unsafe {
                for (value, input) in values.iter_mut().zip(inputs) {
                    *value = s.load(input.add(i));
                }
                let mut y = self.f.eval(s, values);
                if self.write == Write::Add {
                    y = s.add(s.load(out.add(i)), y);
                }
                s.store(out.add(i), y);
            }
            i += S::LANES;
        }
        i
    }
}

impl<const N: usize, F: Lanewise<N>> Kernel for Flat<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.out.len();
        let out = self.out.as_mut_ptr();
        let mut inputs = [out.cast_const(); N];
        for (pointer, input) in inputs.iter_mut().zip(self.inputs) {
            if let Some(input) = input {
                assert_eq!(input.len(), len);
                *pointer = input.as_ptr();
            }
        }
        // SAFETY: an input either is `out` or does not overlap it, and all have `len` elements.
        let i = unsafe { self.vectors(Pair(s), inputs, out, 0, len) };
        // SAFETY: as above.
        let i = unsafe { self.vectors(s, inputs, out, i, len) };
        let rest = len - i;
        if rest > 0 {
            let mut values = [s.splat(0.0); N];
            // SAFETY: as above, with `rest` elements.
            unsafe {
                for (value, input) in values.iter_mut().zip(inputs) {
                    *value = s.load_partial(input.add(i), rest);
                }
                let mut y = self.f.eval(s, values);
                if self.write == Write::Add {
                    y = s.add(s.load_partial(out.add(i), rest), y);
                }
                s.store_partial(out.add(i), y, rest);
            }
        }
    }
}
