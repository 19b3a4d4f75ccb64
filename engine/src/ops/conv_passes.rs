//! The passes that convolution and transposed convolution share: each is the other's input gradient.

use crate::emit::Emitter;
use kernels::conv2d::{Affine, Conv, Conv2dParams, Forward, GradBias, GradInput, GradWeight};
use kernels::{Call, Span, Write};

/// A convolution, or the transposed convolution that is its adjoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvPasses {
    /// Parameters of the convolution, or of the convolution that this is the adjoint of.
    pub(super) params: Conv2dParams,
    pub(super) transposed: bool,
}

impl ConvPasses {
    /// `y = conv(x_map(x)) + bias`
    pub(super) fn forward(&self, [x, w, bias]: [Span; 3], x_map: Affine, y: Span) -> Conv {
        self.gather(x, x_map, w, bias, y, Write::Set, self.transposed)
    }

    /// `dx (+)= conv^T(dz)`
    pub(super) fn grad_input(&self, dz: Span, w: Span, dx: Span, write: Write) -> Conv {
        self.gather(dz, Affine::NONE, w, Span::EMPTY, dx, write, !self.transposed)
    }

    #[allow(clippy::too_many_arguments)]
    fn gather(&self, x: Span, map: Affine, w: Span, bias: Span, y: Span, write: Write, adjoint: bool) -> Conv {
        let (params, algo) = (self.params, None);
        match adjoint {
            false => Conv::Forward(Forward { params, x, x_map: map, w, bias, y, write, algo }),
            true => Conv::GradInput(GradInput { params, dy: x, dy_map: map, w, bias, dx: y, write, algo }),
        }
    }

    /// `dw (+)= map(x)^T dz`
    pub(super) fn grad_weight(&self, x: Span, map: Affine, dz: Span, (dw, write): (Span, Write)) -> Call {
        let (params, algo) = (self.params, None);
        let ((x, x_map), (dy, dy_map)) = match self.transposed {
            false => ((x, map), (dz, Affine::NONE)),
            true => ((dz, Affine::NONE), (x, map)),
        };
        GradWeight { params, x, x_map, dy, dy_map, dw, write, algo }.into()
    }

    /// Emits the forward pass of a node with inputs `[x, w, bias]`; the bias is optional.
    pub(super) fn emit_forward(&self, cx: &mut Emitter<'_>) {
        let operands = [cx.input(0), cx.input(1), cx.optional_input(2)];
        cx.emit(self.forward(operands, Affine::NONE, cx.output()));
    }

    /// Emits the backward passes of such a node. The weight gradient reads `x`, the input gradient reads `w`, the bias
    /// gradient neither.
    pub(super) fn emit_backward(&self, cx: &mut Emitter<'_>) {
        let dy = cx.dy();
        if cx.wants(2) {
            let (db, write) = cx.gradient(2);
            cx.emit(GradBias { dy, db, write });
        }
        if cx.wants(1) {
            let gradient = cx.gradient(1);
            cx.emit(self.grad_weight(cx.input(0), Affine::NONE, dy, gradient));
        }
        if cx.wants(0) {
            let (dx, write) = cx.gradient(0);
            cx.emit(self.grad_input(dy, cx.input(1), dx, write));
        }
    }
}
