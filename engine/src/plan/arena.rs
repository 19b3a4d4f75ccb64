//! Places for buffers of known size and lifetime in one arena.

/// A buffer to be placed: its length in elements, and the first and last step at which it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub(crate) len: usize,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Buffer {
    /// Whether both are in use at some step.
    fn meets(&self, other: &Buffer) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Every buffer begins at a multiple of this many elements, so that f32 ones begin at a cache line.
pub(crate) const ALIGNMENT: usize = 16;

/// Rounds up to the alignment.
pub(crate) fn align(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// An offset for every buffer, and the size of the arena. Buffers that are in use at the same time do not overlap.
///
/// Greedy by size: the largest buffers are placed first. Each goes to the smallest gap that is large enough between the
/// placed buffers that are in use at the same time, or after all of them. Pisarchyk & Lee, "Efficient Memory Management
/// for Deep Neural Net Inference", 2020.
pub(crate) fn pack(buffers: &[Buffer]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), buffers[i].first, i));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(buffers.len());
    let mut size = 0;
    for i in order {
        let len = align(buffers[i].len);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&other| buffers[i].meets(&buffers[other]))
            .map(|&other| (offsets[other], offsets[other] + align(buffers[other].len)))
            .collect();
        taken.sort_unstable();
        offsets[i] = best_fit(len, &taken);
        size = size.max(offsets[i] + len);
        placed.push(i);
    }
    (offsets, size)
}

/// Offset of the smallest gap of at least `len` elements between the `taken` ranges, which are sorted by their
/// beginnings; the end of all ranges if there is no such gap.
fn best_fit(len: usize, taken: &[(usize, usize)]) -> usize {
    let mut end = 0;
    let mut best: Option<(usize, usize)> = None;
    for &(from, to) in taken {
        if from >= end + len && best.is_none_or(|(gap, _)| from - end < gap) {
            best = Some((from - end, end));
        }
        end = end.max(to);
    }
    best.map_or(end, |(_, offset)| offset)
}

/// Elements in use at each of `steps` steps. No arena can be smaller than the largest of these numbers.
pub(crate) fn in_use(buffers: &[Buffer], steps: usize) -> Vec<usize> {
    let at = |step| buffers.iter().filter(|b| b.first <= step && step <= b.last).map(|b| align(b.len)).sum();
    (0..steps).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffer(len: usize, first: usize, last: usize) -> Buffer {
        Buffer { len, first, last }
    }

    #[test]
    fn buffers_that_never_meet_share_a_place() {
        let (offsets, size) = pack(&[buffer(32, 0, 1), buffer(32, 2, 3), buffer(16, 1, 2)]);
        assert_eq!((offsets, size), (vec![0, 0, 32], 48));
    }

    #[test]
    fn the_smallest_gap_that_fits_is_taken() {
        // The ranges leave gaps of 48 and 32 elements.
        let taken = [(48, 64), (96, 112)];
        assert_eq!(best_fit(32, &taken), 64);
        assert_eq!(best_fit(48, &taken), 0);
        assert_eq!(best_fit(64, &taken), 112);
        assert_eq!(best_fit(16, &[]), 0);
        assert_eq!(best_fit(16, &[(0, 64), (16, 32)]), 64, "a range inside another one leaves no gap");
    }

    #[test]
    fn lengths_are_aligned() {
        let (offsets, size) = pack(&[buffer(3, 0, 0), buffer(2, 0, 0), buffer(1, 0, 0)]);
        assert_eq!((offsets, size), (vec![0, 16, 32], 48));
        assert_eq!(pack(&[]), (vec![], 0));
    }

    proptest! {
        #[test]
        fn buffers_in_use_at_one_time_are_disjoint(
            buffers in prop::collection::vec((1usize..200, 0usize..30, 0usize..10), 1..40)
        ) {
            let with_end = |(len, first, more)| buffer(len, first, first + more);
            let buffers: Vec<Buffer> = buffers.into_iter().map(with_end).collect();
            let (offsets, size) = pack(&buffers);
            prop_assert!(in_use(&buffers, 50).into_iter().all(|in_use| in_use <= size));
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(offsets[i] % ALIGNMENT == 0 && offsets[i] + a.len <= size);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let disjoint = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                    prop_assert!(disjoint || !a.meets(b), "{a:?} at {} and {b:?} at {}", offsets[i], offsets[j]);
                }
            }
        }
    }
}
