//! How a pass is cut up, as far as its two kinds have that in common.

use crate::memory::ALIGNMENT_BYTES;
use crate::ops::conv2d::cpu::axis::Axis;

/// Elements of a cache line, to which packed operands are aligned.
pub(super) const LINE: usize = ALIGNMENT_BYTES / size_of::<f32>();

/// Output channels of a group that are too few to be lanes.
pub(super) const MAX_NARROW: usize = 4;

/// Vectors of output channels in a panel, which all pixels of a strip go over at a time.
pub(super) const PANEL_VECTORS: usize = 2;

/// Columns that a strip has at least, if the image has them.
const MIN_STRIP_COLUMNS: usize = 28;

/// How many strips of rows and of columns an image is cut into, so that none of them needs more than `max_len`
/// elements. `len(input pixels, output pixels)` tells how many a strip needs; `axes` bound its outputs and taps. Rows
/// of inputs outside the image, of which there are `height`, are not counted if the kernel is higher than that.
pub(super) fn strips(
    axes: &[Axis; 2],
    height: usize,
    max_len: usize,
    len: impl Fn(usize, usize) -> usize,
) -> [usize; 2] {
    let most_rows = if axes[0].taps > height { height } else { usize::MAX };
    let in_rows = |rows| axes[0].in_len(rows).min(most_rows);
    let fits = |rows, columns| len(in_rows(rows) * axes[1].in_len(columns), rows * columns) <= max_len;
    let mut columns = axes[1].count.max(1);
    while columns > MIN_STRIP_COLUMNS && !fits(1, columns) {
        columns = columns.div_ceil(2);
    }
    let mut rows = axes[0].count.max(1);
    while rows > 1 && !fits(rows, columns) {
        rows -= 1;
    }
    [axes[0].count.div_ceil(rows).max(1), axes[1].count.div_ceil(columns).max(1)]
}

/// A workspace from its first cache line on.
pub(super) fn aligned(workspace: &mut [f32]) -> &mut [f32] {
    let skip = workspace.as_ptr().align_offset(ALIGNMENT_BYTES);
    assert!(skip < LINE);
    &mut workspace[skip..]
}
