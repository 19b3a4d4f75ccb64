//! Device memory: a few flat regions, and [`Span`]s into them.
//!
//! A pass names its operands by spans. They are plain data, so the same call works on host memory and on a device. On
//! the host, [`HostMemory::views`] turns the spans of a call into slices, and checks at run time that written ones are
//! disjoint: callers need no `unsafe` to read and write the same region in one call.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Number of one flat allocation in a [`Backend`](crate::Backend)'s memory. The caller decides what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(pub u8);

/// `len` consecutive elements of a region, beginning at element `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The region that holds the elements.
    pub region: Region,
    /// First element, counted in elements from the region's start.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Span {
    /// A span of no elements, for optional operands that are absent.
    pub const EMPTY: Span = Span { region: Region(0), offset: 0, len: 0 };

    /// The span of `len` elements at `offset` of `region`.
    pub const fn new(region: Region, offset: usize, len: usize) -> Span {
        Span { region, offset, len }
    }

    /// Whether the span has no elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the two spans share an element.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.region == other.region
            && self.len > 0
            && other.len > 0
            && self.offset < other.offset + other.len
            && other.offset < self.offset + self.len
    }
}

/// A device does not have enough memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: could not allocate {bytes} bytes on {device}")]
pub struct OutOfMemory {
    /// Size of the allocation that failed, in bytes.
    pub bytes: usize,
    /// Whose memory it was, for the message.
    pub device: &'static str,
}

/// Alignment of every region on the host in bytes: a cache line, and the widest vector.
pub const ALIGNMENT_BYTES: usize = 64;

/// Size of a huge page of the common architectures.
#[cfg(target_os = "linux")]
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A fixed-length, zero-initialised buffer aligned to [`ALIGNMENT_BYTES`] at least. Its pages are mapped when they are
/// first touched.
///
/// A large buffer asks for huge pages. A row of an image is about as long as a small page, so every row of a tile would
/// need its own TLB entry, and the CPU's prefetchers stop at the end of a page. If the system has no huge pages, the
/// buffer keeps small ones.
pub struct AlignedBuffer<T: bytemuck::Pod> {
    /// The first element of `map`. All accesses go through this pointer.
    ptr: NonNull<T>,
    len: usize,
    /// Owns the elements. `None` if there are none.
    _map: Option<MmapMut>,
}

// SAFETY: the buffer owns its elements, which are plain data.
unsafe impl<T: bytemuck::Pod + Send> Send for AlignedBuffer<T> {}
// SAFETY: shared access only gives `&[T]`.
unsafe impl<T: bytemuck::Pod + Sync> Sync for AlignedBuffer<T> {}

impl<T: bytemuck::Pod> AlignedBuffer<T> {
    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the system refuses.
    pub fn zeroed(len: usize) -> Result<AlignedBuffer<T>, OutOfMemory> {
        const { assert!(align_of::<T>() <= ALIGNMENT_BYTES) };
        let bytes = len.saturating_mul(size_of::<T>());
        if bytes == 0 {
            return Ok(AlignedBuffer { ptr: NonNull::dangling(), len: 0, _map: None });
        }
        let out_of_memory = OutOfMemory { bytes, device: "the host" };
        let mut map = MmapMut::map_anon(bytes).map_err(|_| out_of_memory)?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE_PAGE_BYTES {
            // Fails if the kernel has no huge pages. That is slower, but not wrong.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let ptr = NonNull::new(map.as_mut_ptr().cast()).ok_or(out_of_memory)?;
        Ok(AlignedBuffer { ptr, len, _map: Some(map) })
    }
}

impl<T: bytemuck::Pod> Deref for AlignedBuffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `ptr` is that of `len` elements, page-aligned and zero at first (all-zero bytes are a valid Pod), or
        // dangling with len 0.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: bytemuck::Pod> DerefMut for AlignedBuffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

/// The memory of a backend that computes on the host.
#[derive(Default)]
pub struct HostMemory<T: bytemuck::Pod> {
    regions: Vec<AlignedBuffer<T>>,
}

impl<T: bytemuck::Pod> HostMemory<T> {
    /// Memory with one region of each length, all zeros; region `i` has `lens[i]` elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] if the allocator refuses.
    pub fn new(lens: &[usize]) -> Result<HostMemory<T>, OutOfMemory> {
        let regions = lens.iter().map(|&len| AlignedBuffer::zeroed(len)).collect::<Result<_, _>>()?;
        Ok(HostMemory { regions })
    }

    /// The elements of `span`.
    ///
    /// # Panics
    /// If the span is not inside its region.
    pub fn get(&self, span: Span) -> &[T] {
        if span.is_empty() {
            return &[];
        }
        &self.regions[span.region.0 as usize][span.offset..span.offset + span.len]
    }

    /// The elements of `span`, to write.
    ///
    /// # Panics
    /// If the span is not inside its region.
    pub fn get_mut(&mut self, span: Span) -> &mut [T] {
        if span.is_empty() {
            return &mut [];
        }
        &mut self.regions[span.region.0 as usize][span.offset..span.offset + span.len]
    }

    /// Copies `from` to `to`, which has the same length. Does nothing if they are the same span.
    ///
    /// # Panics
    /// If they overlap otherwise, or a span is not inside its region.
    pub fn copy(&mut self, from: Span, to: Span) {
        if from != to {
            let ([from], [to]) = self.views([from], [to]);
            to.copy_from_slice(from);
        }
    }

    /// The operands of one pass. Spans in `reads` may overlap each other; a span in `writes` must not overlap any
    /// other.
    ///
    /// # Panics
    /// If a span is not inside its region, or a written one overlaps another one.
    pub fn views<const R: usize, const W: usize>(
        &mut self,
        reads: [Span; R],
        writes: [Span; W],
    ) -> ([&[T]; R], [&mut [T]; W]) {
        for (i, write) in writes.iter().enumerate() {
            let others = reads.iter().chain(&writes[..i]);
            for other in others {
                assert!(!write.overlaps(other), "written span {write:?} overlaps {other:?}");
            }
        }
        for span in reads.iter().chain(&writes) {
            if !span.is_empty() {
                let len = self.regions[span.region.0 as usize].len;
                assert!(
                    span.offset <= len && span.len <= len - span.offset,
                    "{span:?} exceeds its region of {len} elements"
                );
            }
        }
        let pointer = |span: Span| -> *mut T {
            if span.is_empty() {
                return NonNull::dangling().as_ptr();
            }
            // SAFETY: checked above to be inside the region.
            unsafe { self.regions[span.region.0 as usize].ptr.as_ptr().add(span.offset) }
        };
        // SAFETY: every span is inside its region; a written one is disjoint from all others, so the unique borrows
        // do not alias; all borrows end with that of `self`, which is unique.
        let reads = reads.map(|span| unsafe { std::slice::from_raw_parts(pointer(span).cast_const(), span.len) });
        // SAFETY: as above.
        let writes = writes.map(|span| unsafe { std::slice::from_raw_parts_mut(pointer(span), span.len) });
        (reads, writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> HostMemory<f32> {
        HostMemory::new(&[16, 8]).unwrap()
    }

    #[test]
    fn views_give_the_spans_elements() {
        let mut memory = memory();
        memory.get_mut(Span::new(Region(0), 4, 2)).copy_from_slice(&[1.0, 2.0]);
        let ([a, none], [b]) = memory.views([Span::new(Region(0), 4, 2), Span::EMPTY], [Span::new(Region(1), 0, 2)]);
        assert!(none.is_empty());
        b.copy_from_slice(a);
        assert_eq!(memory.get(Span::new(Region(1), 0, 3)), [1.0, 2.0, 0.0]);
        assert_eq!(memory.get(Span::new(Region(1), 0, 1)).as_ptr() as usize % ALIGNMENT_BYTES, 0);
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn views_refuse_a_write_over_a_read() {
        memory().views([Span::new(Region(0), 0, 5)], [Span::new(Region(0), 4, 2)]);
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn views_refuse_two_writes_of_one_element() {
        memory().views([], [Span::new(Region(1), 0, 5), Span::new(Region(1), 4, 1)]);
    }

    #[test]
    #[should_panic(expected = "exceeds its region")]
    fn views_refuse_what_is_outside() {
        memory().views([Span::new(Region(1), usize::MAX, 2)], []);
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let error = HostMemory::<f32>::new(&[usize::MAX / 8]).err().unwrap();
        assert!(error.to_string().contains("out of memory"));
    }
}
