//! [`GradcheckOptions`]

use crate::ids::NodeId;
use crate::plan::PlanOptions;

/// How gradients are checked.
#[derive(Clone, Debug)]
pub struct GradcheckOptions {
    /// Seed of parameters, inputs, cotangent and of the choice of elements. Default 0.
    pub seed: u64,
    /// Step `h` of the central differences. Default 1e-5. Their error is `h^2 f''' / 6`, plus the rounding errors of
    /// `f` divided by `h`.
    pub step: f64,
    /// Largest error of a gradient against finite differences, as the [module](super) defines it. Default 1e-6.
    pub tolerance: f64,
    /// Largest error of a backend's result, in multiples of the error that its rounding is expected to cause: see
    /// [`Oracle`](super::Oracle). Default 8.
    pub backend_tolerance: f64,
    /// How many elements of every tensor are compared with finite differences, chosen at random; all if `None`, the
    /// default.
    pub samples: Option<usize>,
    /// Values of inputs; those not listed are uniform in `[-1, 1)`.
    pub inputs: Vec<(NodeId, Vec<f64>)>,
    /// How the plan uses memory. The default poisons it.
    pub plan: PlanOptions,
}

impl Default for GradcheckOptions {
    fn default() -> GradcheckOptions {
        GradcheckOptions {
            seed: 0,
            step: 1e-5,
            tolerance: 1e-6,
            backend_tolerance: 8.0,
            samples: None,
            inputs: Vec::new(),
            plan: PlanOptions { poison: true, ..PlanOptions::default() },
        }
    }
}
