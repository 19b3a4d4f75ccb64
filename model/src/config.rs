//! Everything that can be chosen about a ResConv.

use crate::text;
use crate::{Error, LayerActivation, PerLayer, Ramp, Result};
use engine::Activation;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The settings of a [`ResConv`](crate::ResConv). In a configuration file, fields that are left out have their default.
///
/// The default is the network that the study's text describes, 15 layers deep; [`original`](Self::original) is the one
/// that its code trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResConvConfig {
    /// Layers of the encoder, and of the decoder. Default 15.
    pub layers: usize,
    /// Output channels of the encoder's layers; the decoder mirrors them. Default 32.
    pub channels: PerLayer,
    /// Side of the square kernels of the encoder's layers; the decoder mirrors them. Both ends of a [`Ramp`] must be
    /// odd, and the sizes between them are odd too; a single value and those of a list may be even. Default 3.
    pub kernel_size: PerLayer,
    /// Stride of the encoder's layers, in both directions; the decoder mirrors them. Between the ends of a [`Ramp`] it
    /// is rounded down: 2 and 1 are 2 in the first layer and 1 in all others, so that the layers between compute at
    /// half the resolution. Default 1.
    pub stride: PerLayer,
    /// Zeros around the image in every layer. Default [`Padding::Auto`].
    pub padding: Padding,
    /// Groups that the channels of a convolution are divided into. The first layer of the encoder and the last one of
    /// the decoder always have one group, because the image has too few channels to be divided. Default 1.
    pub groups: usize,
    /// Channels of the input image. Default 1.
    pub in_channels: usize,
    /// Channels of the output image. Default 1.
    pub out_channels: usize,
    /// What the layers compute. Default [`Prediction::Image`].
    #[serde(with = "text")]
    pub predict: Prediction,
    /// Weight of the encoder's outputs when they are added to the decoder's. Default 1.
    pub residual_weight: f64,
    /// Activation of every layer but the last one of the decoder, which has a sigmoid. Default GELU.
    #[serde(with = "text")]
    pub activation: LayerActivation,
    /// Activation of the last layer of the encoder. Default [`BottleneckActivation::Same`].
    #[serde(with = "text")]
    pub bottleneck_activation: BottleneckActivation,
    /// Where the encoder's layers have their batch norm. Default [`BatchNormPosition::BeforeConv`].
    #[serde(with = "text")]
    pub batch_norm_encoder: BatchNormPosition,
    /// Where the decoder's layers have their batch norm. Default [`BatchNormPosition::BeforeConv`].
    #[serde(with = "text")]
    pub batch_norm_decoder: BatchNormPosition,
    /// Whether the last layer of the encoder and the last one of the decoder have a batch norm too. Default true; the
    /// study's later logbook has none there.
    pub batch_norm_last_layers: bool,
}

impl Default for ResConvConfig {
    fn default() -> ResConvConfig {
        ResConvConfig {
            layers: 15,
            channels: 32.into(),
            kernel_size: 3.into(),
            stride: 1.into(),
            padding: Padding::Auto,
            groups: 1,
            in_channels: 1,
            out_channels: 1,
            predict: Prediction::Image,
            residual_weight: 1.0,
            activation: Activation::Gelu.into(),
            bottleneck_activation: BottleneckActivation::Same,
            batch_norm_encoder: BatchNormPosition::BeforeConv,
            batch_norm_decoder: BatchNormPosition::BeforeConv,
            batch_norm_last_layers: true,
        }
    }
}

/// Upper limits, far beyond practical use. They keep every size that is computed from a valid configuration within its
/// integer type.
const MAX_LAYERS: usize = 1_000;
const MAX_CHANNELS: usize = 16_384;
const MAX_EXTENT: usize = 255;

impl ResConvConfig {
    /// The network that the study's code trained. Unlike the one in its text, it has residual weight 0.1, and no
    /// activation on the last layer of the encoder. The published losses are those of this network.
    pub fn original(layers: usize) -> ResConvConfig {
        ResConvConfig {
            layers,
            residual_weight: 0.1,
            bottleneck_activation: BottleneckActivation::None,
            ..ResConvConfig::default()
        }
    }

    /// Checks every setting by itself and against the others. Whether an image is large enough is checked when the
    /// network is [recorded](crate::ResConv::record).
    ///
    /// # Errors
    /// [`Error::Config`] naming the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        for (field, value, max) in [
            ("layers", self.layers, MAX_LAYERS),
            ("groups", self.groups, MAX_CHANNELS),
            ("in_channels", self.in_channels, MAX_CHANNELS),
            ("out_channels", self.out_channels, MAX_CHANNELS),
        ] {
            expect(field, (1..=max).contains(&value), || (format!("1 to {max}"), value.to_string()))?;
        }
        for (field, values, max) in [
            ("channels", &self.channels, MAX_CHANNELS),
            ("kernel_size", &self.kernel_size, MAX_EXTENT),
            ("stride", &self.stride, MAX_EXTENT),
        ] {
            for value in values.numbers() {
                expect(field, (1..=max).contains(&value), || (format!("1 to {max}"), value.to_string()))?;
            }
            if let PerLayer::List(list) = values {
                expect(field, list.len() == self.layers, || {
                    (format!("a number for each of the {} layers", self.layers), values.to_string())
                })?;
            }
        }
        if let (None, PerLayer::Ramp(Ramp { first, last })) = (self.kernel_size.same(), &self.kernel_size) {
            expect("kernel_size", first % 2 == 1 && last % 2 == 1, || {
                ("odd sizes at both ends of a range".to_owned(), self.kernel_size.to_string())
            })?;
        }
        if let Padding::Fixed(padding) = self.padding {
            expect("padding", padding <= MAX_EXTENT, || (format!("0 to {MAX_EXTENT}"), padding.to_string()))?;
        }
        let is_possible = {
            let more = self.in_channels.checked_sub(self.out_channels);
            self.predict == Prediction::Image || matches!(more, Some(0 | 1))
        };
        expect("predict", is_possible, || {
            let Self { in_channels, out_channels, .. } = self;
            (
                "image, unless the input has as many channels as the output, or a mask more".to_owned(),
                format!("residual with {in_channels} and {out_channels} channels"),
            )
        })?;
        expect("residual_weight", self.residual_weight.is_finite(), || {
            ("a finite number".to_owned(), self.residual_weight.to_string())
        })?;
        // Convolutions with groups lie between two neighbouring layers. One layer has none; with more, the channels of
        // every layer are divided.
        for layer in (0..self.layers).filter(|_| self.layers > 1) {
            let channels = self.channels_of(layer);
            expect("groups", channels.is_multiple_of(self.groups), || {
                (
                    format!("a divisor of the {channels} channels of encoder layer {}", layer + 1),
                    self.groups.to_string(),
                )
            })?;
        }
        Ok(())
    }

    /// Output channels of encoder layer `layer`, counted from 0.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn channels_of(&self, layer: usize) -> usize {
        self.channels.at(layer, self.layers)
    }

    /// Stride of encoder layer `layer`, counted from 0.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn stride_of(&self, layer: usize) -> usize {
        self.stride.at(layer, self.layers)
    }

    /// Kernel size of encoder layer `layer`, counted from 0; in a ramp half the interpolated size, rounded down, times
    /// 2, plus 1.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn kernel_size_of(&self, layer: usize) -> usize {
        match &self.kernel_size {
            PerLayer::Ramp(Ramp { first, last }) if first == last => *first,
            PerLayer::Ramp(ramp) => ramp.at(layer, self.layers, 2) * 2 + 1,
            PerLayer::List(list) => list[layer],
        }
    }
}

fn expect(field: &'static str, holds: bool, message: impl FnOnce() -> (String, String)) -> Result<()> {
    if holds {
        return Ok(());
    }
    let (expected, got) = message();
    Err(Error::Config { field, expected, got })
}

/// What the layers of the network compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prediction {
    /// `image`: the restored image, by a sigmoid at the end.
    #[default]
    Image,
    /// `residual`: what is subtracted from the input, without an activation at the end. Zhang et al., "Beyond a
    /// Gaussian denoiser" (DnCNN), 2017: easier to learn where the input is almost right. If the input has a channel
    /// more than the output, that one is a mask from 0 to 1, by which the residual is multiplied before it is
    /// subtracted from the others: what is 0 there stays as it is.
    Residual,
}

impl Prediction {
    /// Every prediction.
    pub const ALL: [Prediction; 2] = [Prediction::Image, Prediction::Residual];
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prediction::Image => "image",
            Prediction::Residual => "residual",
        })
    }
}

impl FromStr for Prediction {
    type Err = Error;
    fn from_str(text: &str) -> Result<Prediction> {
        let found = Prediction::ALL.into_iter().find(|prediction| prediction.to_string() == text);
        found.ok_or_else(|| Error::Syntax { expected: "`image` or `residual`", got: text.to_owned() })
    }
}

/// Zeros on each side of a layer's input.
///
/// In a configuration file: a number, or `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PaddingForm", into = "PaddingForm")]
pub enum Padding {
    /// Half the layer's kernel size, rounded down: an odd kernel with stride 1 keeps the image's size.
    Auto,
    /// The same in every layer.
    Fixed(usize),
}

impl Padding {
    /// Padding of a layer with this kernel size.
    pub(crate) fn of(self, kernel_size: usize) -> usize {
        match self {
            Padding::Auto => kernel_size / 2,
            Padding::Fixed(padding) => padding,
        }
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Padding::Auto => f.write_str("auto"),
            Padding::Fixed(padding) => write!(f, "{padding}"),
        }
    }
}

impl FromStr for Padding {
    type Err = Error;
    fn from_str(text: &str) -> Result<Padding> {
        if text == "auto" {
            return Ok(Padding::Auto);
        }
        let number = text.parse().map(Padding::Fixed);
        number.map_err(|_| Error::Syntax { expected: "a number, or `auto`", got: text.to_owned() })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or \"auto\"")]
enum PaddingForm {
    Fixed(usize),
    Word(PaddingWord),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PaddingWord {
    Auto,
}

impl From<PaddingForm> for Padding {
    fn from(form: PaddingForm) -> Padding {
        match form {
            PaddingForm::Fixed(padding) => Padding::Fixed(padding),
            PaddingForm::Word(PaddingWord::Auto) => Padding::Auto,
        }
    }
}

impl From<Padding> for PaddingForm {
    fn from(padding: Padding) -> PaddingForm {
        match padding {
            Padding::Auto => PaddingForm::Word(PaddingWord::Auto),
            Padding::Fixed(padding) => PaddingForm::Fixed(padding),
        }
    }
}

/// Where a layer has its batch norm. The rest of a layer is: convolution, zeros at the bottom and right (decoder only),
/// activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormPosition {
    /// `before_conv`: at the beginning.
    BeforeConv,
    /// `after_conv`: between the zeros and the activation.
    AfterConv,
    /// `after_activation`: at the end.
    AfterActivation,
    /// `none`: nowhere.
    None,
}

impl BatchNormPosition {
    /// Every position.
    pub const ALL: [BatchNormPosition; 4] = [
        BatchNormPosition::BeforeConv,
        BatchNormPosition::AfterConv,
        BatchNormPosition::AfterActivation,
        BatchNormPosition::None,
    ];
}

impl fmt::Display for BatchNormPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BatchNormPosition::BeforeConv => "before_conv",
            BatchNormPosition::AfterConv => "after_conv",
            BatchNormPosition::AfterActivation => "after_activation",
            BatchNormPosition::None => "none",
        })
    }
}

impl FromStr for BatchNormPosition {
    type Err = Error;
    fn from_str(text: &str) -> Result<BatchNormPosition> {
        let found = BatchNormPosition::ALL.into_iter().find(|position| position.to_string() == text);
        let expected = "before_conv, after_conv, after_activation or none";
        found.ok_or_else(|| Error::Syntax { expected, got: text.to_owned() })
    }
}

/// Activation of the encoder's last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BottleneckActivation {
    /// `same`: that of the other layers.
    Same,
    /// `none`: the convolution's output goes on as it is.
    None,
    /// The name of an activation: this one.
    Other(LayerActivation),
}

impl BottleneckActivation {
    /// The activation that it stands for, if the other layers have `activation`.
    pub(crate) fn resolve(self, activation: LayerActivation) -> Option<LayerActivation> {
        match self {
            BottleneckActivation::Same => Some(activation),
            BottleneckActivation::None => None,
            BottleneckActivation::Other(other) => Some(other),
        }
    }
}

impl fmt::Display for BottleneckActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BottleneckActivation::Same => f.write_str("same"),
            BottleneckActivation::None => f.write_str("none"),
            BottleneckActivation::Other(activation) => activation.fmt(f),
        }
    }
}

impl FromStr for BottleneckActivation {
    type Err = Error;
    fn from_str(text: &str) -> Result<BottleneckActivation> {
        match text {
            "same" => Ok(BottleneckActivation::Same),
            "none" => Ok(BottleneckActivation::None),
            name => name.parse().map(BottleneckActivation::Other).map_err(|_| Error::Syntax {
                expected: "same, none, or the name of an activation",
                got: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_a_file() {
        let config = ResConvConfig {
            layers: 4,
            channels: Ramp { first: 16, last: 64 }.into(),
            kernel_size: Ramp { first: 3, last: 9 }.into(),
            stride: PerLayer::List(vec![2, 1, 2, 1]),
            padding: Padding::Fixed(1),
            groups: 4,
            in_channels: 3,
            out_channels: 3,
            predict: Prediction::Residual,
            residual_weight: 0.25,
            activation: Activation::LeakyRelu.into(),
            bottleneck_activation: BottleneckActivation::Other(LayerActivation::Prelu),
            batch_norm_encoder: BatchNormPosition::AfterActivation,
            batch_norm_decoder: BatchNormPosition::None,
            batch_norm_last_layers: false,
        };
        for config in [config, ResConvConfig::default(), ResConvConfig::original(3)] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ResConvConfig>(&text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn fields_may_be_left_out_and_have_short_forms() {
        let config: ResConvConfig =
            serde_json::from_str(r#"{"channels": 8, "kernel_size": [3, 7], "padding": "auto", "activation": "silu"}"#)
                .unwrap();
        let want = ResConvConfig {
            channels: 8.into(),
            kernel_size: Ramp { first: 3, last: 7 }.into(),
            activation: Activation::Silu.into(),
            ..ResConvConfig::default()
        };
        assert_eq!(config, want);
    }

    #[test]
    fn text_is_refused_with_what_would_be_right() {
        for (text, message) in [
            (r#"{"layer": 3}"#, "unknown field `layer`"),
            (
                r#"{"channels": "x"}"#,
                "expected a number, two as in `32:64`, or one for each layer as in `16,32,64`, got `x`",
            ),
            (r#"{"channels": -3}"#, "expected a number, two as in \"32:64\", or a list with one for each layer"),
            (r#"{"kernel_size": []}"#, "expected a number for each layer, got `[]`"),
            (r#"{"padding": "same"}"#, "expected a number, or \"auto\""),
            (r#"{"activation": "softmax"}"#, "unknown activation `softmax`"),
            (r#"{"bottleneck_activation": "x"}"#, "expected same, none, or the name of an activation, got `x`"),
            (r#"{"batch_norm_encoder": "0"}"#, "expected before_conv, after_conv, after_activation or none, got `0`"),
        ] {
            let error = serde_json::from_str::<ResConvConfig>(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert_eq!("2".parse::<Padding>().unwrap(), Padding::Fixed(2));
        assert_eq!("auto".parse::<Padding>().unwrap(), Padding::Auto);
        assert_eq!("-1".parse::<Padding>().unwrap_err().to_string(), "expected a number, or `auto`, got `-1`");
    }

    #[test]
    fn a_list_says_what_each_layer_has() {
        let config = ResConvConfig {
            layers: 3,
            channels: PerLayer::List(vec![16, 8, 64]),
            kernel_size: PerLayer::List(vec![5, 2, 3]),
            ..ResConvConfig::default()
        };
        config.validate().unwrap();
        let layers: Vec<_> = (0..3).map(|layer| (config.channels_of(layer), config.kernel_size_of(layer))).collect();
        assert_eq!(layers, [(16, 5), (8, 2), (64, 3)]);
    }

    #[test]
    fn settings_are_checked() {
        type Change = fn(&mut ResConvConfig);
        let cases: [(Change, &str); 17] = [
            (|c| c.layers = 0, "layers: expected 1 to 1000, got 0"),
            (|c| c.layers = 1001, "layers: expected 1 to 1000, got 1001"),
            (|c| c.channels = 0.into(), "channels: expected 1 to 16384, got 0"),
            (|c| c.channels = Ramp { first: 32, last: 0 }.into(), "channels: expected 1 to 16384, got 0"),
            (|c| c.kernel_size = 0.into(), "kernel_size: expected 1 to 255, got 0"),
            (|c| c.kernel_size = Ramp { first: 3, last: 256 }.into(), "kernel_size: expected 1 to 255, got 256"),
            (
                |c| c.kernel_size = Ramp { first: 3, last: 8 }.into(),
                "kernel_size: expected odd sizes at both ends of a range, got 3:8",
            ),
            (|c| c.channels = PerLayer::List(vec![4, 0, 4]), "channels: expected 1 to 16384, got 0"),
            (
                |c| c.channels = PerLayer::List(vec![4, 8, 4]),
                "channels: expected a number for each of the 15 layers, got 4,8,4",
            ),
            (|c| c.stride = 0.into(), "stride: expected 1 to 255, got 0"),
            (|c| c.padding = Padding::Fixed(256), "padding: expected 0 to 255, got 256"),
            (|c| c.groups = 0, "groups: expected 1 to 16384, got 0"),
            (|c| c.groups = 5, "groups: expected a divisor of the 32 channels of encoder layer 1, got 5"),
            (
                |c| (c.groups, c.layers, c.channels) = (4, 3, Ramp { first: 8, last: 20 }.into()),
                "groups: expected a divisor of the 14 channels of encoder layer 2, got 4",
            ),
            (|c| c.in_channels = 0, "in_channels: expected 1 to 16384, got 0"),
            (
                |c| (c.predict, c.out_channels) = (Prediction::Residual, 3),
                "predict: expected image, unless the input has as many channels as the output, or a mask more, got residual \
                 with 1 and 3 channels",
            ),
            (|c| c.residual_weight = f64::NAN, "residual_weight: expected a finite number, got NaN"),
        ];
        for (change, message) in cases {
            let mut config = ResConvConfig::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().to_string(), message);
        }
        for layers in [1, 2, 15, 1000] {
            ResConvConfig::original(layers).validate().unwrap();
        }
        // One layer has no convolution with groups.
        ResConvConfig { layers: 1, groups: 5, ..ResConvConfig::default() }.validate().unwrap();
    }

    #[test]
    fn ramps_are_those_of_the_logbook() {
        let mut config = ResConvConfig { layers: 11, ..ResConvConfig::default() };
        config.kernel_size = Ramp { first: 11, last: 3 }.into();
        let sizes: Vec<usize> = (0..11).map(|layer| config.kernel_size_of(layer)).collect();
        assert_eq!(sizes, [11, 11, 9, 9, 7, 7, 7, 5, 5, 3, 3]);
        config.channels = Ramp { first: 16, last: 32 }.into();
        let channels: Vec<usize> = (0..11).map(|layer| config.channels_of(layer)).collect();
        assert_eq!(channels, [16, 17, 19, 20, 22, 24, 25, 27, 28, 30, 32]);
        config.layers = 1;
        assert_eq!((config.kernel_size_of(0), config.channels_of(0)), (11, 16));
        config.kernel_size = 4.into();
        assert_eq!(config.kernel_size_of(0), 4);
    }
}
