//! [`Loss`]: which function a pass computes.

use std::fmt;

/// A loss function. Kernels on a GPU know it by its number, which `loss.cu` has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Mean absolute error.
    L1,
    /// Mean squared error.
    Mse,
    /// Binary cross-entropy between the sigmoid of the prediction, a logit, and the target, a probability.
    BceWithLogits,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::L1 => "l1_loss",
            Loss::Mse => "mse_loss",
            Loss::BceWithLogits => "bce_with_logits",
        })
    }
}
