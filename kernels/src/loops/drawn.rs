//! Passes that draw a random number for every element.

use super::for_rows;
use crate::random::{BLOCK, ElementWords};
use crate::simd::{Kernel, MAX_LANES, Simd};
use crate::{Cpu, Write};

/// A function of the same lane of `N` operands and of a random number.
pub(crate) trait Drawn<const N: usize>: Copy + Send + Sync {
    /// The number that an element's random word gives. Must be `#[inline(always)]`.
    fn number(self, word: u32) -> f32;

    /// The function. Must be `#[inline(always)]`.
    fn eval<S: Simd>(self, s: S, number: S::F32, inputs: [S::F32; N]) -> S::F32;
}

/// `out (+)= f(number, inputs)` for every element. An input that is `None` is the old value of `out`.
pub(crate) fn map_drawn<const N: usize, F: Drawn<N>>(
    cpu: &Cpu,
    f: F,
    words: ElementWords,
    inputs: [Option<&[f32]>; N],
    out: &mut [f32],
    write: Write,
) {
    let len = out.len();
    assert!(inputs.iter().flatten().all(|input| input.len() == len), "operands of unequal length");
    for_rows(cpu, out, 1, 1, |elements, out| {
        let inputs = inputs.map(|input| input.map(|values| &values[elements.clone()]));
        let words = ElementWords { first: words.first + elements.start as u64, ..words };
        cpu.isa.dispatch(Task { f, words, inputs, out, write });
    });
}

/// One task of [`map_drawn`].
struct Task<'a, F, const N: usize> {
    f: F,
    words: ElementWords,
    inputs: [Option<&'a [f32]>; N],
    out: &'a mut [f32],
    write: Write,
}

impl<const N: usize, F: Drawn<N>> Task<'_, F, N> {
    /// The first `count` lanes.
    ///
    /// # Safety
    /// `count` elements must be valid at each pointer but that of the numbers, where LANES must be. An input must be
    /// `out` or not overlap it.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, s: S, numbers: *const f32, inputs: [*const f32; N], out: *mut f32, count: usize) {
        // SAFETY: the caller's duty; elements of an input that is `out` are read before they are written.
        unsafe {
            let inputs = inputs.map(|input| s.load_first(input, count));
            let mut y = self.f.eval(s, s.load(numbers), inputs);
            if self.write == Write::Add {
                y = s.add(s.load_first(out, count), y);
            }
            s.store_first(out, y, count);
        }
    }
}

impl<const N: usize, F: Drawn<N>> Kernel for Task<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const { assert!(S::LANES <= MAX_LANES) };
        let len = self.out.len();
        let out = self.out.as_mut_ptr();
        let mut inputs = [out.cast_const(); N];
        for (pointer, input) in inputs.iter_mut().zip(self.inputs) {
            if let Some(input) = input {
                assert_eq!(input.len(), len);
                *pointer = input.as_ptr();
            }
        }
        // A vector that begins in a block may end behind it.
        let mut numbers = [0.0; BLOCK + MAX_LANES];
        let mut start = 0;
        while start < len {
            let at = self.words.first + start as u64;
            let place = at as usize % BLOCK;
            let of_block = numbers.first_chunk_mut().expect("longer than a block");
            self.words.of_block(at / BLOCK as u64, |word| self.f.number(word), of_block);
            let end = len.min(start + BLOCK - place);
            for i in (start..end).step_by(S::LANES) {
                // SAFETY: up to `end` all operands have elements, and an operand is `out` or does not overlap it. The
                // number of element `i` is in the block, and MAX_LANES are behind that.
                unsafe {
                    let numbers = numbers.as_ptr().add(place + i - start);
                    self.vector(s, numbers, inputs.map(|input| input.add(i)), out.add(i), S::LANES.min(end - i));
                }
            }
            start = end;
        }
    }
}
