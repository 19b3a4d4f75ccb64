//! [`Shape`]

use std::fmt;

/// Sizes of the 1 to 4 dimensions of a value, outermost first: `[N, H, W, C]` for images, `[N, C]` for vectors.
///
/// ```
/// # use engine::Shape;
/// let shape = Shape::from([64, 32, 32, 1]);
/// assert_eq!(shape.len(), 65536);
/// assert_eq!(shape.to_string(), "[64, 32, 32, 1]");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    // Dimensions from `rank` on are 1.
    dims: [usize; Shape::MAX_RANK],
    rank: usize,
}

impl Shape {
    /// Largest number of dimensions.
    pub const MAX_RANK: usize = 4;

    /// The sizes.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty)] // The shape of a node is never empty.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Size of the innermost dimension: the channels of an image.
    pub fn channels(&self) -> usize {
        self.dims[self.rank - 1]
    }

    /// The same without the innermost dimension; `[1]` if there is no other.
    pub fn without_channels(&self) -> Shape {
        let mut dims = self.dims;
        dims[self.rank - 1] = 1;
        Shape { dims, rank: (self.rank - 1).max(1) }
    }

    /// The same with another innermost dimension.
    pub(crate) fn with_channels(&self, channels: usize) -> Shape {
        let mut dims = self.dims;
        dims[self.rank - 1] = channels;
        Shape { dims, rank: self.rank }
    }

    /// Whether no size is 0, and the elements can be counted and addressed as f64.
    pub(crate) fn is_valid(&self) -> bool {
        let len = self.dims.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        len.is_some_and(|len| len > 0 && len <= isize::MAX as usize / size_of::<f64>())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Shape {
        const { assert!(N >= 1 && N <= Shape::MAX_RANK, "a shape has 1 to 4 dimensions") }
        let mut dims = [1; Shape::MAX_RANK];
        dims[..N].copy_from_slice(&sizes);
        Shape { dims, rank: N }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
