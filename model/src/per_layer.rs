//! Settings that may differ from layer to layer.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A number for each layer of the encoder; the decoder mirrors them.
///
/// As text, on the command line and in a configuration file: `32` for all layers, `16:64` for a [`Ramp`], `16,32,64`
/// for a list with a number for each layer. A list may stand in brackets, and a file may have numbers and lists of its
/// own: `32`, `[16, 32, 64]`. A list of two numbers is the same as a ramp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PerLayerForm", into = "PerLayerForm")]
pub enum PerLayer {
    /// Interpolated linearly from the first to the last layer.
    Ramp(Ramp),
    /// One for each layer.
    List(Vec<usize>),
}

/// Numbers that are interpolated linearly from the first encoder layer to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// In the first layer.
    pub first: usize,
    /// In the last layer.
    pub last: usize,
}

impl Ramp {
    /// The value in layer `layer` of `layers`, divided by `divisor` and rounded down.
    ///
    /// The logbook's tables were made with `int((first * (1 - t) + last * t) / divisor)`, `t = layer / (layers - 1)`,
    /// in floating point. This is that expression without its rounding errors, and agrees with it in every published
    /// network.
    pub(crate) fn at(self, layer: usize, layers: usize, divisor: usize) -> usize {
        match layers - 1 {
            0 => self.first / divisor,
            steps => (self.first * (steps - layer) + self.last * layer) / (divisor * steps),
        }
    }
}

impl PerLayer {
    /// The number of layer `layer` of `layers`, in a ramp rounded down.
    pub(crate) fn at(&self, layer: usize, layers: usize) -> usize {
        match self {
            PerLayer::Ramp(ramp) => ramp.at(layer, layers, 1),
            PerLayer::List(list) => list[layer],
        }
    }

    /// The number of all layers, if it is one.
    pub fn same(&self) -> Option<usize> {
        match self {
            PerLayer::Ramp(Ramp { first, last }) => (first == last).then_some(*first),
            PerLayer::List(_) => None,
        }
    }

    /// The numbers that it is made of.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        match self {
            PerLayer::Ramp(Ramp { first, last }) => vec![*first, *last],
            PerLayer::List(list) => list.clone(),
        }
    }

    /// The numbers, one for each layer; of one or two, a ramp.
    fn of_list(list: Vec<usize>) -> PerLayer {
        match list[..] {
            [value] => value.into(),
            [first, last] => Ramp { first, last }.into(),
            _ => PerLayer::List(list),
        }
    }
}

impl From<usize> for PerLayer {
    fn from(value: usize) -> PerLayer {
        PerLayer::Ramp(Ramp { first: value, last: value })
    }
}

impl From<Ramp> for PerLayer {
    fn from(ramp: Ramp) -> PerLayer {
        PerLayer::Ramp(ramp)
    }
}

impl fmt::Display for PerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.same(), self) {
            (Some(value), _) => write!(f, "{value}"),
            (None, PerLayer::Ramp(Ramp { first, last })) => write!(f, "{first}:{last}"),
            (None, PerLayer::List(list)) => {
                f.write_str(&list.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl FromStr for PerLayer {
    type Err = Error;
    fn from_str(text: &str) -> Result<PerLayer> {
        let wrong = || Error::Syntax {
            expected: "a number, two as in `32:64`, or one for each layer as in `16,32,64`",
            got: text.to_owned(),
        };
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Some((first, last)) = plain.split_once(':') {
            return Ok(Ramp { first: number(first)?, last: number(last)? }.into());
        }
        Ok(PerLayer::of_list(plain.split(',').map(number).collect::<Result<_>>()?))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, two as in \"32:64\", or a list with one for each layer")]
enum PerLayerForm {
    Constant(usize),
    List(Vec<usize>),
    Text(String),
}

impl TryFrom<PerLayerForm> for PerLayer {
    type Error = Error;
    fn try_from(form: PerLayerForm) -> Result<PerLayer> {
        match form {
            PerLayerForm::Constant(value) => Ok(value.into()),
            PerLayerForm::List(list) if list.is_empty() => {
                Err(Error::Syntax { expected: "a number for each layer", got: "[]".to_owned() })
            }
            PerLayerForm::List(list) => Ok(PerLayer::of_list(list)),
            PerLayerForm::Text(text) => text.parse(),
        }
    }
}

impl From<PerLayer> for PerLayerForm {
    fn from(values: PerLayer) -> PerLayerForm {
        match (values.same(), values) {
            (Some(value), _) => PerLayerForm::Constant(value),
            (None, PerLayer::List(list)) => PerLayerForm::List(list),
            (None, ramp) => PerLayerForm::Text(ramp.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_layers_have_one_notation() {
        let ramp = |first, last| PerLayer::from(Ramp { first, last });
        let list = PerLayer::List(vec![16, 32, 64]);
        for (text, json, want) in [
            ("16", "16", PerLayer::from(16)),
            ("[16]", "[16]", 16.into()),
            ("16:64", r#""16:64""#, ramp(16, 64)),
            // What earlier versions wrote.
            ("16,64", "[16,64]", ramp(16, 64)),
            ("16,32,64", "[16,32,64]", list.clone()),
            ("[16, 32, 64]", r#""16,32,64""#, list),
        ] {
            assert_eq!(text.parse::<PerLayer>().unwrap(), want, "{text}");
            assert_eq!(serde_json::from_str::<PerLayer>(json).unwrap(), want, "{json}");
            assert_eq!(want.to_string().parse::<PerLayer>().unwrap(), want);
            assert_eq!(serde_json::from_str::<PerLayer>(&serde_json::to_string(&want).unwrap()).unwrap(), want);
        }
        for wrong in ["16:", "16,", "", "[]", "1:2:3", "16;32"] {
            let told = wrong.parse::<PerLayer>().unwrap_err().to_string();
            assert!(told.ends_with(&format!("as in `16,32,64`, got `{wrong}`")), "{told}");
        }
    }
}
