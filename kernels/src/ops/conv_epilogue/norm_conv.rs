//! [`NormConvBackward`]: the backward passes of a convolution of normalized values.

use crate::ops::batch_norm::{self, BatchNormParams};
use crate::ops::conv2d::{Affine, Algo, Conv, ConvPasses, GradWeight};
use crate::ops::epilogue::NormGradient;
use crate::ops::prelude::*;

/// The passes from `dz`, the gradient of `z = conv(gamma xhat + beta)`, to those of the weight, of the normalization's
/// parameters, and of what was normalized.
#[derive(Clone, Copy, Debug)]
pub struct NormConvBackward {
    /// The convolution.
    pub conv: ConvPasses,
    /// Shape and constants of the normalization.
    pub norm: BatchNormParams,
    /// What was normalized, an image of as many channels as the normalization.
    pub x: Span,
    /// How the convolution reads it: scale and shift of the normalization.
    pub map: Affine,
    /// Scale `[channels]`.
    pub gamma: Span,
    /// Offset `[channels]`.
    pub beta: Span,
    /// Mean of the batch `[channels]`.
    pub mean: Span,
    /// `1 / sqrt(var + eps)` of the batch `[channels]`.
    pub rstd: Span,
    /// Weight.
    pub w: Span,
    /// Gradient of the convolution's output.
    pub dz: Span,
    /// Sum of the pixels of `dz`, or empty if no pass has taken it.
    pub dz_sum: Span,
    /// Gradient of the weight, and whether it is set or added to.
    pub dw: (Span, Write),
    /// Gradient of the scale, or empty if it is not wanted, and whether it is set or added to.
    pub dgamma: (Span, Write),
    /// The same of the offset.
    pub dbeta: (Span, Write),
    /// Gradient of the normalized values.
    pub g: Span,
    /// `a`, `b` and `c` of [`batch_norm::Gradients`] `[3, channels]`, written.
    pub coefficients: Span,
    /// The CPU's algorithms of the weight gradient and of `g`; `None` until they are chosen.
    pub algos: [Option<Algo>; 2],
}

impl NormConvBackward {
    /// The gradient of the weight.
    pub fn grad_weight(&self) -> GradWeight {
        let algo = self.algos[0];
        GradWeight { algo, ..self.conv.grad_weight(self.x, self.map, self.dz, self.dw) }
    }

    /// The pass that computes `g`.
    pub fn grad_input(&self) -> Conv {
        self.conv.grad_input(self.dz, self.w, (self.g, Write::Set)).with_algo(self.algos[1])
    }

    /// The gradients of the normalization's parameters, and the coefficients.
    pub fn gradients(&self) -> batch_norm::Gradients {
        let NormConvBackward { norm: params, x, gamma, mean, rstd, g, coefficients, .. } = *self;
        let ((dgamma, dgamma_write), (dbeta, dbeta_write)) = (self.dgamma, self.dbeta);
        batch_norm::Gradients {
            params,
            x,
            gamma,
            mean,
            rstd,
            dy: g,
            dgamma,
            dgamma_write,
            dbeta,
            dbeta_write,
            coefficients,
        }
    }

    /// The three passes.
    pub fn passes(&self) -> (GradWeight, Conv, batch_norm::Gradients) {
        (self.grad_weight(), self.grad_input(), self.gradients())
    }

    /// What is left to do for the gradient of `x`.
    pub fn gradient(&self) -> NormGradient {
        NormGradient { dy: self.g, x: self.x, mean: self.mean, coefficients: self.coefficients }
    }
}
