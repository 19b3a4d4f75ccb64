//! [`Loss`]: which function a pass computes.

use std::fmt;

/// A loss function. Kernels on a GPU know it by its number, which `loss.cu` has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    Mse,
    /// Mean of `sqrt((p - t)^2 + e^2)`, with `e` = [`CHARBONNIER_EPSILON`]: absolute error with a slope that does not
    /// jump.
    Charbonnier,
    /// Binary cross-entropy between the sigmoid of the prediction, a logit, and the target, a probability.
    BceWithLogits,
}

/// Errors much smaller than this count as squares in [`Loss::Charbonnier`], much larger ones as absolute values. The
/// value is that of Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", 2017.
pub const CHARBONNIER_EPSILON: f64 = 1e-3;

impl Loss {
    /// The name of the operation.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::L1 => "l1_loss",
            Loss::Mse => "mse_loss",
            Loss::Charbonnier => "charbonnier_loss",
            Loss::BceWithLogits => "bce_with_logits",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
