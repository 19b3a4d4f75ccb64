//! Launches the kernel of `rrelu.cu`.

use super::slopes::{BLOCK, Slopes};
use crate::gpu::{Device, Ptr, Slice, flat_grid, kernels};
use crate::pass::Write;

kernels!("rrelu" {
    rrelu: 256 (u32, u32, u32, u32, u32, Ptr, Ptr, Ptr, u32),
});

impl Kernels {
    /// `out (+)= v` where `x > 0`, else its slope times `v`; `v` may be `out` if that is set.
    pub(super) fn apply(&self, device: &Device, slopes: Slopes, [x, v]: [Slice; 2], out: Slice, write: Write) {
        let (draws, [k0, k1]) = match slopes {
            Slopes::Random { key, .. } => (1, key.to_words()),
            Slopes::Mean => (0, [0; 2]),
        };
        let first = u32::try_from(slopes.first()).expect("a batch has less than 2^32 elements");
        let (begin, end) = (first as usize, first as usize + out.len);
        assert!(end <= u32::MAX as usize - BLOCK, "a batch has less than 2^32 elements");
        // The grid covers whole blocks, as a thread computes two elements of a block together.
        let grid = flat_grid(end.next_multiple_of(BLOCK) - begin / BLOCK * BLOCK);
        let args = (out.len as u32, draws, k0, k1, first, x.ptr, v.ptr, out.ptr, u32::from(write == Write::Add));
        // SAFETY: all operands have the length that the kernel is given.
        unsafe { self.rrelu.launch(device, grid, args) }
    }
}
