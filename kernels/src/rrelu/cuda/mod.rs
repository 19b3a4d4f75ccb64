//! Launches the kernel of `rrelu.cu`.

use super::{BLOCK, Slopes};
use crate::Write;
use crate::cuda_rt::{Device, Ptr, Slice, flat_grid, kernels};

kernels!("rrelu" {
    rrelu: 256 (u32, u32, u32, u32, u32, Ptr, Ptr, Ptr, u32),
});

impl Kernels {
    /// `out (+)= v` where `x > 0`, else its slope times `v`; `v` may be `out` if that is set.
    pub(crate) fn apply(&self, device: &Device, slopes: Slopes, [x, v]: [Slice; 2], out: Slice, write: Write) {
        let (draws, [k0, k1]) = match slopes {
            Slopes::Random { key, .. } => (1, key.to_words()),
            Slopes::Mean => (0, [0; 2]),
        };
        let first = u32::try_from(slopes.first()).expect("a batch has less than 2^32 elements");
        let (begin, end) = (first as usize, first as usize + out.len);
        assert!(end <= u32::MAX as usize - BLOCK, "a batch has less than 2^32 elements");
        // whole blocks, as two elements of a block are computed together
        let grid = flat_grid(end.next_multiple_of(BLOCK) - begin / BLOCK * BLOCK);
        let args = (out.len as u32, draws, k0, k1, first, x.ptr, v.ptr, out.ptr, u32::from(write == Write::Add));
        // SAFETY: all have as many elements as is said.
        unsafe { self.rrelu.launch(device, grid, args) }
    }
}
