//! The activations that a layer can have.

use engine::{Activation, Graph, Init, NodeId};
use std::{fmt, str::FromStr};

/// The activation of a layer: a function of its input alone, or one with a trained slope or random slopes.
///
/// In a configuration file and as text: its name in lower case, such as `gelu` or `prelu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerActivation {
    /// An element-wise function.
    Function(Activation),
    /// PReLU: the rectifier with a trained slope for negative inputs, one for all elements of the layer, initially 1/4.
    /// It adds a parameter per layer, on which weight decay acts as on every other.
    Prelu,
    /// RReLU: the rectifier with random slopes for negative inputs, which training draws from 1/8 to 1/3 for every
    /// element in every step. Evaluation mode uses their mean; inference with the statistics of the batch draws them
    /// too: see [`Graph::rrelu`].
    Rrelu,
}

impl LayerActivation {
    /// Every activation: the functions, then the others.
    pub fn all() -> impl Iterator<Item = LayerActivation> {
        let others = [LayerActivation::Prelu, LayerActivation::Rrelu];
        Activation::ALL.into_iter().map(LayerActivation::Function).chain(others)
    }

    /// Number of trained parameters.
    pub(crate) fn parameter_count(self) -> usize {
        usize::from(self == LayerActivation::Prelu)
    }

    /// Records it on `x`; `name` is the name of PyTorch's module, such as `encoder.layer_1.act`.
    pub(crate) fn record(self, graph: &mut Graph, x: NodeId, name: &str) -> engine::Result<NodeId> {
        let y = match self {
            LayerActivation::Function(f) => graph.activation(x, f)?,
            LayerActivation::Prelu => {
                let slope = graph.parameter(&format!("{name}.weight"), [1], Init::Constant(0.25))?;
                graph.prelu(x, slope)?
            }
            LayerActivation::Rrelu => graph.rrelu(x)?,
        };
        graph.set_name(y, name);
        Ok(y)
    }

    /// The module as PyTorch prints it.
    pub(crate) fn pytorch_repr(self) -> &'static str {
        match self {
            LayerActivation::Function(f) => function_repr(f),
            LayerActivation::Prelu => "PReLU(num_parameters=1)",
            LayerActivation::Rrelu => "RReLU(lower=0.125, upper=0.3333333333333333)",
        }
    }
}

impl From<Activation> for LayerActivation {
    fn from(f: Activation) -> LayerActivation {
        LayerActivation::Function(f)
    }
}

impl fmt::Display for LayerActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerActivation::Function(function) => function.fmt(f),
            LayerActivation::Prelu => f.write_str("prelu"),
            LayerActivation::Rrelu => f.write_str("rrelu"),
        }
    }
}

/// The name is not that of an activation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown activation `{0}`: expected one of {names}", names = names())]
pub struct UnknownActivation(String);

fn names() -> String {
    LayerActivation::all().map(|activation| activation.to_string()).collect::<Vec<_>>().join(", ")
}

impl FromStr for LayerActivation {
    type Err = UnknownActivation;
    fn from_str(name: &str) -> Result<LayerActivation, UnknownActivation> {
        let found = LayerActivation::all().find(|activation| activation.to_string() == name);
        found.ok_or_else(|| UnknownActivation(name.to_owned()))
    }
}

fn function_repr(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "GELU(approximate='none')",
        Activation::Sigmoid => "Sigmoid()",
        Activation::Tanh => "Tanh()",
        Activation::Relu => "ReLU()",
        Activation::LeakyRelu => "LeakyReLU(negative_slope=0.01)",
        Activation::Silu => "SiLU()",
        Activation::Mish => "Mish()",
        Activation::Relu6 => "ReLU6()",
        Activation::Hardswish => "Hardswish()",
        Activation::Hardsigmoid => "Hardsigmoid()",
        Activation::Hardtanh => "Hardtanh(min_val=-1.0, max_val=1.0)",
        Activation::Softplus => "Softplus(beta=1.0, threshold=20.0)",
        Activation::LogSigmoid => "LogSigmoid()",
        Activation::Celu => "CELU(alpha=1.0)",
        Activation::Selu => "SELU()",
        Activation::Softsign => "Softsign()",
        Activation::Softshrink => "Softshrink(0.5)",
        Activation::Hardshrink => "Hardshrink(0.5)",
        Activation::Tanhshrink => "Tanhshrink()",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_or_refused() {
        for activation in LayerActivation::all() {
            assert_eq!(activation.to_string().parse(), Ok(activation));
        }
        let error = "prelo".parse::<LayerActivation>().unwrap_err().to_string();
        assert!(error.starts_with("unknown activation `prelo`: expected one of gelu, sigmoid, "), "{error}");
        assert!(error.ends_with(", tanhshrink, prelu, rrelu"), "{error}");
    }
}
