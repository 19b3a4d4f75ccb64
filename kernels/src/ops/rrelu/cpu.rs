//! SIMD implementation of the [module documentation](super)'s equations.

use super::slopes::{BLOCK, Slopes};
use crate::host::Cpu;
use crate::loops::TASK_LEN;
use crate::parallel::SharedSlice;
use crate::pass::Write;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// `out (+)= v` where `x > 0`, else its slope times `v`: the forward pass with `x` as `v`, the backward pass with `dy`.
/// An operand that is `None` is `out` itself, as it was before.
pub(super) fn apply(cpu: &Cpu, slopes: Slopes, [x, v]: [Option<&[f32]>; 2], out: &mut [f32], write: Write) {
    let len = out.len();
    let shared = SharedSlice::new(out);
    cpu.pool.for_each(len.div_ceil(TASK_LEN), |task| {
        let start = task * TASK_LEN;
        let len = TASK_LEN.min(len - start);
        // SAFETY: tasks do not overlap.
        let out = unsafe { shared.slice(start, len) };
        let operands = [x, v].map(|operand| operand.map(|values| &values[start..start + len]));
        cpu.isa.dispatch(Task { slopes, first: slopes.first() + start as u64, operands, out, write });
    });
}

/// One task of [`apply`]; `first` is the number of its first element.
struct Task<'a> {
    slopes: Slopes,
    first: u64,
    operands: [Option<&'a [f32]>; 2],
    out: &'a mut [f32],
    write: Write,
}

/// The first `count` lanes of `x`, `v`, their slopes and `out`.
///
/// # Safety
/// `count` elements must be valid at each pointer but that of the slopes, where LANES must be.
#[inline(always)]
unsafe fn vector<S: Simd>(s: S, [x, v, slopes]: [*const f32; 3], out: *mut f32, count: usize, write: Write) {
    // SAFETY: the caller's duty; elements of an operand that is `out` are read before they are written.
    unsafe {
        let load = |ptr: *const f32| if count == S::LANES { s.load(ptr) } else { s.load_partial(ptr, count) };
        let (x, v) = (load(x), load(v));
        let mut y = s.select(s.less(s.splat(0.0), x), v, s.mul(s.load(slopes), v));
        if write == Write::Add {
            y = s.add(load(out.cast_const()), y);
        }
        if count == S::LANES {
            s.store(out, y);
        } else {
            s.store_partial(out, y, count);
        }
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const { assert!(S::LANES <= MAX_LANES) };
        let len = self.out.len();
        let out = self.out.as_mut_ptr();
        let mut operands = [out.cast_const(); 2];
        for (pointer, operand) in operands.iter_mut().zip(self.operands) {
            if let Some(operand) = operand {
                assert_eq!(operand.len(), len);
                *pointer = operand.as_ptr();
            }
        }
        let [x, v] = operands;
        // A vector that begins in a block may end behind it.
        let mut slopes = [0.0; BLOCK + MAX_LANES];
        let mut start = 0;
        while start < len {
            let at = self.first + start as u64;
            let place = at as usize % BLOCK;
            self.slopes.of_block(at / BLOCK as u64, slopes.first_chunk_mut().expect("longer than a block"));
            let end = len.min(start + BLOCK - place);
            for i in (start..end).step_by(S::LANES) {
                // SAFETY: up to `end` all operands have elements, and an operand is `out` or does not overlap it. The
                // slope of element `i` is in the block, and MAX_LANES are behind that.
                unsafe {
                    let inputs = [x.add(i), v.add(i), slopes.as_ptr().add(place + i - start)];
                    vector(s, inputs, out.add(i), S::LANES.min(end - i), self.write);
                }
            }
            start = end;
        }
    }
}
