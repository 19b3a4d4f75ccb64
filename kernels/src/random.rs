//! Random numbers that depend only on a key and a counter: Threefry-2x32 with 20 rounds.
//!
//! A pass computes each random number from the index of its element. So the numbers are the same on every backend, with
//! every instruction set and any number of threads, and a backward pass computes them again instead of reading them.
//! The seed gives the key of a run; from it follow the keys of its steps, and from each of those the keys of the
//! streams ([`Draws`]).
//!
//! The words of elements are made for blocks of 128: element `j` of a block (`j` below 64) and element `j + 64` share a
//! call of the generator, with the counter 64 times the number of the block plus `j`.
//!
//! ```text
//! words(key, counter): 5 times, four rounds with rotations 13 15 26 6 or, every other time, 17 29 16 24:
//!     x0 += x1;   x1 = rotate_left(x1, r) ^ x0
//! before, between and after these: add key words in turn (the third is k0 ^ k1 ^ 0x1BD11BDA), and to x1 how many
//! groups of four rounds have run
//! ```
//!
//! Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011. The same function is in their library
//! Random123, whose known answers are tested here, and in JAX, whose `fold_in` derives keys in the same way. It needs
//! only additions, rotations and XOR of 32 bits, so the compiler vectorizes a loop over counters.

/// The key of a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u32; 2]);

/// Rotations of the rounds. Key words are added after every four.
const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/// In the third key word: without it, all three words of a zero key would be 0.
const PARITY: u32 = 0x1bd1_1bda;

impl Key {
    /// Given to passes that draw nothing. It is a key like any other.
    pub(crate) const ZERO: Key = Key([0; 2]);

    /// The key of a seed.
    pub fn new(seed: u64) -> Key {
        Key(halves(seed))
    }

    /// A key derived from this one: that of a step from that of a run, that of a stream from that of a step.
    #[must_use]
    pub fn fold_in(self, number: u64) -> Key {
        let [lo, hi] = halves(number);
        Key(self.words(lo, hi))
    }

    /// Two random words; other counters give other words.
    #[inline(always)]
    pub fn words(self, lo: u32, hi: u32) -> [u32; 2] {
        let [k0, k1] = self.0;
        let keys = [k0, k1, k0 ^ k1 ^ PARITY];
        let (mut x0, mut x1) = (lo.wrapping_add(k0), hi.wrapping_add(k1));
        for group in 0..5u32 {
            for rotation in ROTATIONS[group as usize % 2] {
                x0 = x0.wrapping_add(x1);
                x1 = x1.rotate_left(rotation) ^ x0;
            }
            let next = group as usize + 1;
            x0 = x0.wrapping_add(keys[next % 3]);
            x1 = x1.wrapping_add(keys[(next + 1) % 3]).wrapping_add(group + 1);
        }
        [x0, x1]
    }

    /// The words, for kernels on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn to_words(self) -> [u32; 2] {
        self.0
    }
}

/// Which random numbers a pass draws: those of a stream, from its first element on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Number of the stream. Every node has its own.
    pub stream: u64,
    /// Index of the pass's first element in the batch. It is above 0 if other ranks hold the elements before it.
    pub first: u64,
}

impl Draws {
    /// The words of the pass's elements, in a step that has the key `step`.
    pub(crate) fn words(self, step: Key) -> ElementWords {
        ElementWords { key: step.fold_in(self.stream), first: self.first }
    }
}

/// Half a block. Two elements that are this far apart share a call of the generator.
const HALF: usize = 64;

/// Elements of a block.
pub(crate) const BLOCK: usize = 2 * HALF;

/// A random word for each element of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElementWords {
    /// The key of the stream.
    pub(crate) key: Key,
    /// Number of the pass's first element in the batch.
    pub(crate) first: u64,
}

impl ElementWords {
    /// The word of element `i` of the pass.
    pub(crate) fn word(self, i: usize) -> u32 {
        let i = self.first + i as u64;
        let (block, place) = (i / BLOCK as u64, i as usize % BLOCK);
        let counter = block * HALF as u64 + (place % HALF) as u64;
        self.key.words(counter as u32, (counter >> 32) as u32)[place / HALF]
    }

    /// What `number` makes of the words of block `block`, whose first element has number `block * BLOCK` in the batch.
    /// The compiler turns the loop into one over vectors.
    #[inline(always)]
    pub(crate) fn of_block(self, block: u64, number: impl Fn(u32) -> f32, numbers: &mut [f32; BLOCK]) {
        let first = block * HALF as u64;
        // `first` is a multiple of HALF, so adding less than that carries nothing into the upper half.
        let (lo, hi) = (first as u32, (first >> 32) as u32);
        let (low, high) = numbers.split_at_mut(HALF);
        for (i, (low, high)) in low.iter_mut().zip(high).enumerate() {
            let [a, b] = self.key.words(lo + i as u32, hi);
            (*low, *high) = (number(a), number(b));
        }
    }
}

/// The lower and the upper 32 bits.
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `tests/kat_vectors` of Random123: key, counter, answer of `threefry2x32` with 20 rounds.
    #[test]
    fn the_words_are_the_published_ones() {
        for (key, [lo, hi], want) in [
            ([0, 0], [0, 0], [0x6b20_0159, 0x99ba_4efe]),
            ([u32::MAX; 2], [u32::MAX; 2], [0x1cb9_96fc, 0xbb00_2be7]),
            ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3], [0xc492_3a9c, 0x483d_f7a0]),
        ] {
            assert_eq!(Key(key).words(lo, hi), want);
        }
    }

    #[test]
    fn keys_folded_in_differ() {
        let key = Key::new(1 << 32 | 2);
        assert_eq!(key, Key([2, 1]));
        let keys = [key, key.fold_in(0), key.fold_in(1), key.fold_in(1 << 32), key.fold_in(0).fold_in(1)];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|b| a != b), "{keys:?}");
        }
        assert_eq!(key.fold_in(3 << 32 | 4), Key(key.words(4, 3)));
    }

    /// Whole blocks are the words of single elements, also far behind what a GPU takes.
    #[test]
    fn a_block_has_the_words_of_its_elements() {
        let key = Key::new(2);
        for block in [0, 1, 1 << 25, 1 << 26, 1 << 40] {
            let words = ElementWords { key, first: block * BLOCK as u64 };
            let mut of_block = [0.0; BLOCK];
            words.of_block(block, |word| (word >> 8) as f32, &mut of_block);
            assert!((0..BLOCK).all(|i| of_block[i] == (words.word(i) >> 8) as f32), "{block}");
            let behind = ElementWords { key, first: block * BLOCK as u64 + 70 };
            assert!((0..58).all(|i| behind.word(i) == words.word(i + 70)), "{block}");
        }
    }
}
