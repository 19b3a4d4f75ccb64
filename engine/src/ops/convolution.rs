//! What convolution and transposed convolution have in common: each other's passes.

use super::{Conv2d, ConvTranspose2d};
use crate::Shape;
use crate::plan::{Call, Emitter};
use kernels::conv2d::{self, Affine, Conv2dParams};
use kernels::{Span, Write};

/// The convolution of a [`Graph::norm_conv_act`](crate::Graph::norm_conv_act).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Convolution {
    /// As [`Graph::conv2d`](crate::Graph::conv2d).
    Conv2d(Conv2d),
    /// As [`Graph::conv_transpose2d`](crate::Graph::conv_transpose2d).
    Transposed(ConvTranspose2d),
}

impl Convolution {
    /// The kernels' parameters: of the convolution, or of the one that it is the adjoint of.
    pub(super) fn params(&self, x: Shape, w: Shape) -> Conv2dParams {
        let params = match self {
            Convolution::Conv2d(conv) => conv.params(x, w),
            Convolution::Transposed(conv) => conv.params(x, w),
        };
        params.expect("checked when it was recorded")
    }

    /// `y = conv(x) + bias`
    pub(super) fn forward(&self, p: Conv2dParams, [x, w, bias]: [Span; 3], x_map: Affine, y: Span) -> Call {
        let (write, workspace) = (Write::Set, Span::EMPTY);
        match self {
            Convolution::Conv2d(_) => {
                Call::Conv2dForward(p, conv2d::Forward { x, x_map, w, bias, y, write, workspace })
            }
            Convolution::Transposed(_) => {
                let operands = conv2d::GradInput { dy: x, dy_map: x_map, w, bias, dx: y, write, workspace };
                Call::Conv2dGradInput(p, operands)
            }
        }
    }

    /// `dx (+)= conv^T(dz)`
    pub(super) fn grad_input(&self, p: Conv2dParams, dz: Span, w: Span, dx: Span, write: Write) -> Call {
        let (bias, workspace) = (Span::EMPTY, Span::EMPTY);
        match self {
            Convolution::Conv2d(_) => {
                let operands = conv2d::GradInput { dy: dz, dy_map: Affine::NONE, w, bias, dx, write, workspace };
                Call::Conv2dGradInput(p, operands)
            }
            Convolution::Transposed(_) => {
                let operands = conv2d::Forward { x: dz, x_map: Affine::NONE, w, bias, y: dx, write, workspace };
                Call::Conv2dForward(p, operands)
            }
        }
    }

    /// `dw (+)= x^T dz`
    pub(super) fn grad_weight(
        &self,
        p: Conv2dParams,
        x: Span,
        map: Affine,
        dz: Span,
        (dw, write): (Span, Write),
    ) -> Call {
        let workspace = Span::EMPTY;
        let none = Affine::NONE;
        let operands = match self {
            Convolution::Conv2d(_) => conv2d::GradWeight { x, x_map: map, dy: dz, dy_map: none, dw, write, workspace },
            Convolution::Transposed(_) => {
                conv2d::GradWeight { x: dz, x_map: none, dy: x, dy_map: map, dw, write, workspace }
            }
        };
        Call::Conv2dGradWeight(p, operands)
    }

    /// Emits the forward pass of a node `[x, w, bias]`, the bias being optional.
    pub(super) fn emit_forward(&self, cx: &mut Emitter<'_, '_>) {
        let operands = [cx.input(0), cx.input(1), cx.optional_input(2)];
        cx.emit(self.forward(self.params(cx.shape(0), cx.shape(1)), operands, Affine::NONE, cx.output()));
    }

    /// Emits the backward passes of such a node. The weight gradient reads `x`, the input gradient reads `w`, the bias gradient neither.
    pub(super) fn emit_backward(&self, cx: &mut Emitter<'_, '_>) {
        let (p, dy) = (self.params(cx.shape(0), cx.shape(1)), cx.dy());
        if cx.wants(2) {
            let (db, write) = cx.gradient(2);
            cx.emit(Call::Conv2dGradBias(conv2d::GradBias { dy, db, write, workspace: Span::EMPTY }));
        }
        if cx.wants(1) {
            let gradient = cx.gradient(1);
            cx.emit(self.grad_weight(p, cx.input(0), Affine::NONE, dy, gradient));
        }
        if cx.wants(0) {
            let (dx, write) = cx.gradient(0);
            cx.emit(self.grad_input(p, dy, cx.input(1), dx, write));
        }
    }
}
