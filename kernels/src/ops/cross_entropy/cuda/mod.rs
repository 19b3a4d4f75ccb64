//! Launches the kernels of `cross_entropy.cu`.

use super::params::CrossEntropyParams;
use crate::gpu::{Arg, BLOCK, Device, Ptr, Slice, kernels};
use crate::pass::Write;

kernels!("cross_entropy" {
    cross_entropy_sums: 256 (Rows, Ptr, Ptr, Ptr),
    cross_entropy_mean: 256 (u32, Ptr, Ptr, Ptr),
    cross_entropy_backward: 256 (Rows, Ptr, Ptr, Ptr, Ptr, Ptr, u32),
});

/// `Rows` in cross_entropy.cu.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    rows: u32,
    classes: u32,
    has_ignored: u32,
    ignored: f32,
    own: f32,
    spread: f32,
}

// SAFETY: `Rows` in cross_entropy.cu has the same fields.
unsafe impl Arg for Rows {}

impl From<&CrossEntropyParams> for Rows {
    fn from(p: &CrossEntropyParams) -> Rows {
        Rows {
            rows: p.rows as u32,
            classes: p.classes as u32,
            has_ignored: u32::from(p.ignored.is_some()),
            ignored: p.ignored.unwrap_or(0) as f32,
            own: (1.0 - p.label_smoothing) as f32,
            spread: (p.label_smoothing / p.classes as f64) as f32,
        }
    }
}

/// Elements of scratch for the loss: a sum and a number of rows a block.
pub(super) fn forward_workspace_len(p: &CrossEntropyParams) -> usize {
    2 * p.rows.div_ceil(BLOCK)
}

impl Kernels {
    /// The loss, and the number of rows that count.
    pub(super) fn forward(
        &self,
        device: &Device,
        p: &CrossEntropyParams,
        [logits, targets, out, count]: [Slice; 4],
        workspace: Slice,
    ) {
        let blocks = p.rows.div_ceil(BLOCK);
        let partial = workspace.scratch(forward_workspace_len(p)).ptr;
        // SAFETY: logits and targets have the lengths that `p` says, as the check of the pass asserts, the workspace
        // two elements for each block, `out` and `count` one each.
        unsafe {
            self.cross_entropy_sums.launch(device, [blocks, 1, 1], (p.into(), logits.ptr, targets.ptr, partial));
            self.cross_entropy_mean.launch(device, [1, 1, 1], (blocks as u32, partial, out.ptr, count.ptr));
        }
    }

    /// `dlogits (+)= dloss / count (softmax - q)`
    pub(super) fn backward(
        &self,
        device: &Device,
        p: &CrossEntropyParams,
        [logits, targets, count, dloss]: [Slice; 4],
        dlogits: Slice,
        write: Write,
    ) {
        let add = u32::from(write == Write::Add);
        let args = (p.into(), logits.ptr, targets.ptr, count.ptr, dloss.ptr, dlogits.ptr, add);
        // SAFETY: as above; `dlogits` is as long as the logits.
        unsafe { self.cross_entropy_backward.launch(device, [p.rows.div_ceil(BLOCK), 1, 1], args) }
    }
}
