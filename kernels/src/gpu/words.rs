//! [`DeviceWords`]: random words of elements on a GPU.

use super::{Arg, flat_grid};
use crate::random::{BLOCK, ElementWords};

/// `Words` in random.cuh: an [`ElementWords`] in 32 bits.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DeviceWords {
    key: [u32; 2],
    first: u32,
}

// SAFETY: `Words` in random.cuh has the same fields.
unsafe impl Arg for DeviceWords {}

impl DeviceWords {
    /// The words of a pass over `len` elements.
    ///
    /// # Panics
    /// If the batch has 2^32 elements or more.
    pub(crate) fn new(words: ElementWords, len: usize) -> DeviceWords {
        let first = u32::try_from(words.first).expect("a batch has less than 2^32 elements");
        assert!(first as usize + len <= u32::MAX as usize - BLOCK, "a batch has less than 2^32 elements");
        DeviceWords { key: words.key.to_words(), first }
    }

    /// Blocks of threads for `len` elements: whole blocks of words, as a thread computes two elements of one together.
    pub(crate) fn grid(&self, len: usize) -> [usize; 3] {
        let (begin, end) = (self.first as usize, self.first as usize + len);
        flat_grid(end.next_multiple_of(BLOCK) - begin / BLOCK * BLOCK)
    }
}
