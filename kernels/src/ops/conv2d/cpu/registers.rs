//! How many sums a register block has.

use crate::simd::Isa;

/// Accumulators that leave registers for the operands of a step.
pub(super) const fn max_sums(isa: Isa) -> usize {
    match isa {
        // A portable vector is two of 16 registers of 128 bits.
        Isa::Portable => 4,
        Isa::Avx2 => 12,
        Isa::Avx512 => 28,
    }
}

/// The instruction set for vectors of `channels`. Half-empty vectors of 16 cost as much as those of 8 or more.
pub(super) fn isa_for(isa: Isa, channels: usize) -> Isa {
    if isa == Isa::Avx512 && channels <= Isa::Avx2.lanes() { Isa::Avx2 } else { isa }
}

/// Cuts `len` into register blocks of at most `max` that differ by one: `[(size, count), (size, count)]`. So 32 pixels
/// in blocks of at most 6 are 6 6 5 5 5 5, where 6 6 6 6 6 2 would leave the units idle for the last block.
#[inline(always)]
pub(super) fn balanced(len: usize, max: usize) -> [(usize, usize); 2] {
    let blocks = len.div_ceil(max);
    if blocks == 0 {
        return [(0, 0); 2];
    }
    let (size, longer) = (len / blocks, len % blocks);
    [(size + 1, longer), (size, blocks - longer)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_row_and_differ_by_one() {
        for max in 1..=14 {
            for len in 0..=60 {
                let [(long, long_count), (short, short_count)] = balanced(len, max);
                assert_eq!(long * long_count + short * short_count, len);
                assert!(short_count == 0 || short <= max);
                assert!(long_count == 0 || long <= max && long == short + 1);
            }
        }
    }
}
