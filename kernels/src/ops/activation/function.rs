//! [`Activation`]: which function a pass computes.

use std::fmt;

/// What the backward pass of an activation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Its input `x`.
    Input,
    /// Its output `y`.
    Output,
}

/// Defines [`Activation`] from one list: the name of each function, and what its backward pass reads. So no function is
/// missing from [`Activation::ALL`], which the tests go through.
macro_rules! activations {
    ($($(#[$doc:meta])* $activation:ident => $name:literal, reads $saved:ident;)*) => {
        /// An element-wise function. The defaults of parameters are PyTorch's.
        ///
        /// Kernels on a GPU know a function by its place in this list: `Activation` in `gpu/common.cuh`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Activation {
            $($(#[$doc])* $activation,)*
        }

        impl Activation {
            /// Every activation.
            pub const ALL: [Activation; [$($name),*].len()] = [$(Activation::$activation),*];

            /// Whether the backward pass reads `x` or `y`.
            pub fn saved(self) -> Saved {
                match self {
                    $(Activation::$activation => Saved::$saved,)*
                }
            }
        }

        /// The name in lower case, as in configuration files: `gelu`, `leaky_relu`.
        impl fmt::Display for Activation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Activation::$activation => $name,)*
                })
            }
        }
    };
}

activations! {
    /// Gaussian error linear unit, exact.
    Gelu => "gelu", reads Input;
    /// Logistic function.
    Sigmoid => "sigmoid", reads Output;
    /// Hyperbolic tangent.
    Tanh => "tanh", reads Output;
    /// Rectifier.
    Relu => "relu", reads Output;
    /// Rectifier with slope 0.01 below 0.
    LeakyRelu => "leaky_relu", reads Input;
    /// Sigmoid linear unit.
    Silu => "silu", reads Input;
    /// Mish.
    Mish => "mish", reads Input;
    /// Rectifier cut off at 6.
    Relu6 => "relu6", reads Output;
    /// Piecewise quadratic form of SiLU.
    Hardswish => "hardswish", reads Input;
    /// Piecewise linear form of the logistic function.
    Hardsigmoid => "hardsigmoid", reads Input;
    /// Piecewise linear form of the hyperbolic tangent.
    Hardtanh => "hardtanh", reads Output;
    /// Smooth rectifier.
    Softplus => "softplus", reads Input;
    /// Logarithm of the logistic function.
    LogSigmoid => "log_sigmoid", reads Input;
    /// Continuously differentiable exponential linear unit with alpha 1, which is the same as ELU.
    Celu => "celu", reads Input;
    /// Scaled exponential linear unit.
    Selu => "selu", reads Input;
    /// Softsign.
    Softsign => "softsign", reads Input;
    /// Moves values towards 0 by 1/2, and those from -1/2 to 1/2 to 0.
    Softshrink => "softshrink", reads Output;
    /// Sets values from -1/2 to 1/2 to 0.
    Hardshrink => "hardshrink", reads Output;
    /// What tanh takes away.
    Tanhshrink => "tanhshrink", reads Input;
}

/// Factor of [`Activation::Selu`].
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// [`Activation::Selu`] tends to minus this, times [`SELU_SCALE`], at minus infinity.
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;
