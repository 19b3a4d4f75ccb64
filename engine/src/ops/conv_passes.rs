//! What the nodes of convolution and transposed convolution emit.

use crate::emit::Emitter;
use kernels::conv2d::{Affine, ConvPasses, GradBias};

/// Emits the forward pass of a node with inputs `[x, w, bias]`; the bias is optional.
pub(super) fn emit_forward(conv: ConvPasses, cx: &mut Emitter<'_>) {
    let operands = [cx.input(0), cx.input(1), cx.optional_input(2)];
    cx.emit(conv.forward(operands, Affine::NONE, cx.output()));
}

/// Emits the backward passes of such a node. The weight gradient reads `x`, the input gradient reads `w`, the bias
/// gradient neither.
pub(super) fn emit_backward(conv: ConvPasses, cx: &mut Emitter<'_>) {
    let dy = cx.dy();
    if cx.wants(2) {
        let (db, write) = cx.gradient(2);
        cx.emit(GradBias { dy, db, write });
    }
    if cx.wants(1) {
        let gradient = cx.gradient(1);
        cx.emit(conv.grad_weight(cx.input(0), Affine::NONE, dy, gradient));
    }
    if cx.wants(0) {
        let gradient = cx.gradient(0);
        cx.emit(conv.grad_input(dy, cx.input(1), gradient));
    }
}
