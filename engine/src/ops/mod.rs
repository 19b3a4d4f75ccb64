//! The operations. Each has one file with everything that the engine knows about it.
//!
//! A file holds the user's parameters, the [`Graph`](crate::Graph) method that records the operation, its
//! [`Operation`](crate::graph::Operation) (shape rule, forward and backward passes, recomputation), and its [`Cases`]
//! for gradient checks. A new operation is a new file and a name in the list below.

mod activation;
mod add;
mod batch_norm;
pub(crate) mod case;
mod concat;
mod conv2d;
mod conv_passes;
mod conv_transpose2d;
mod convolution;
mod cross_entropy;
mod custom;
mod draws;
mod dropout;
mod frozen_batch_norm;
mod group_norm;
mod layout;
mod loss;
mod mul;
mod norm_conv_act;
mod pad;
mod pool2d;
mod prelu;
mod prelude;
mod reshape;
mod rrelu;
mod scale;
mod ssim;
mod sum;
mod upsample;

pub use batch_norm::{BatchNorm, BatchNormNodes};
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::Conv2d;
pub use convolution::Convolution;
pub use cross_entropy::CrossEntropy;
pub use custom::{BackwardInputs, CustomOp, View};
pub use group_norm::GroupNorm;
pub use norm_conv_act::{NormConvAct, NormConvActNodes};
pub use pool2d::Pool2d;
pub use reshape::flattened_linear_weight;

use case::{Case, Cases, Random};

/// Defines the functions that list the gradient-check cases of all operations.
macro_rules! operations {
    ($($name:ty),* $(,)?) => {
        /// The gradient-check cases of every operation.
        pub(crate) fn cases() -> Vec<Case> {
            let mut cases = Vec::new();
            $({
                let of_operation = <$name as Cases>::cases();
                assert!(!of_operation.is_empty(), "{} has no gradient-check case", stringify!($name));
                cases.extend(of_operation);
            })*
            cases
        }

        /// Random gradient-check cases of every operation.
        pub(crate) fn random_cases(random: &mut Random) -> Vec<Case> {
            let mut cases = Vec::new();
            $(cases.extend(<$name as Cases>::random_cases(random));)*
            cases
        }
    };
}

operations!(
    Conv2d,
    ConvTranspose2d,
    BatchNorm,
    frozen_batch_norm::FrozenBatchNorm,
    GroupNorm,
    norm_conv_act::NormConvActOp,
    kernels::activation::Activation,
    prelu::Prelu,
    rrelu::Rrelu,
    dropout::Dropout,
    add::Add,
    scale::Scale,
    mul::Mul,
    sum::Total,
    pad::Pad,
    concat::Concat,
    concat::SliceChannels,
    pool2d::PoolOp,
    upsample::Upsample,
    reshape::Reshape,
    kernels::loss::Loss,
    ssim::Ssim,
    cross_entropy::CrossEntropy,
    custom::Custom,
);
