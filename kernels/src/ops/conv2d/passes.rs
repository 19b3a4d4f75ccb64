//! [`ConvPasses`]: the passes of a convolution or of a transposed convolution, each of which is the other's input
//! gradient.

use super::{Affine, Conv, Conv2dParams, Forward, GradInput, GradWeight};
use crate::memory::Span;
use crate::pass::Write;

/// A convolution `z = conv(x)`, or the transposed convolution that is its adjoint. Makes its passes, with algorithms
/// that are not chosen yet.
#[derive(Clone, Copy, Debug)]
pub struct ConvPasses {
    /// Shape of the convolution, or of the convolution that this is the adjoint of.
    pub params: Conv2dParams,
    /// Whether it is transposed.
    pub transposed: bool,
}

impl ConvPasses {
    /// `z = conv(map(x)) + bias`; an empty bias is none.
    pub fn forward(&self, [x, w, bias]: [Span; 3], map: Affine, z: Span) -> Conv {
        let (params, write, algo) = (self.params, Write::Set, None);
        match self.transposed {
            false => Conv::Forward(Forward { params, x, x_map: map, w, bias, y: z, write, algo }),
            true => Conv::GradInput(GradInput { params, dy: x, dy_map: map, w, bias, dx: z, write, algo }),
        }
    }

    /// `dx (+)= conv^T(dz)`
    pub fn grad_input(&self, dz: Span, w: Span, (dx, write): (Span, Write)) -> Conv {
        let (params, map, bias, algo) = (self.params, Affine::NONE, Span::EMPTY, None);
        match self.transposed {
            false => Conv::GradInput(GradInput { params, dy: dz, dy_map: map, w, bias, dx, write, algo }),
            true => Conv::Forward(Forward { params, x: dz, x_map: map, w, bias, y: dx, write, algo }),
        }
    }

    /// `dw (+)= map(x)^T dz`
    pub fn grad_weight(&self, x: Span, map: Affine, dz: Span, (dw, write): (Span, Write)) -> GradWeight {
        let (params, algo) = (self.params, None);
        let ((x, x_map), (dy, dy_map)) = match self.transposed {
            false => ((x, map), (dz, Affine::NONE)),
            true => ((dz, Affine::NONE), (x, map)),
        };
        GradWeight { params, x, x_map, dy, dy_map, dw, write, algo }
    }

    /// Height and width of `x`, and of `z`.
    pub(in crate::ops) fn sizes(&self) -> [[usize; 2]; 2] {
        let p = &self.params;
        let sizes = [[p.h, p.w], [p.p, p.q]];
        if self.transposed { [sizes[1], sizes[0]] } else { sizes }
    }
}
