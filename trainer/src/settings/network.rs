//! The flags of the section `[network]`, whose settings are those of [`ResConvConfig`](model::ResConvConfig).

use clap::{ArgAction, Args};
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Padding, PerLayer, Prediction};
use serde::{Serialize, Serializer};
use std::fmt::Display;

/// Any of the network's settings.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Network")]
pub struct NetworkFlags {
    /// Layers of the encoder; the decoder has as many
    #[arg(long)]
    pub layers: Option<usize>,
    /// Output channels of the encoder's layers: one number, the first and the last layer's as in 16:64, or those of
    /// each layer as in 16,32,64
    #[arg(long)]
    pub channels: Option<PerLayer>,
    /// Side of the kernels: one number, the first and the last layer's as in 9:3, or those of each layer as in 9,5,3
    #[arg(long)]
    pub kernel_size: Option<PerLayer>,
    /// Stride of the encoder's layers: one number, the first and the last layer's as in 2:1, rounded down between them,
    /// or those of each layer as in 2,1,2
    #[arg(long)]
    pub stride: Option<PerLayer>,
    /// Zeros around the image in every layer; auto is half the kernel size
    #[arg(long)]
    pub padding: Option<Padding>,
    /// Groups that the channels of every inner layer are divided into
    #[arg(long)]
    pub groups: Option<usize>,
    /// What the layers compute: image, the restored image; or residual, what is subtracted from the input, which is
    /// easier to learn where the input is almost right (noise, blur, downscale, fill)
    #[arg(long)]
    #[serde(serialize_with = "as_text")]
    pub predict: Option<Prediction>,
    /// Weight of the skip connections
    #[arg(long, allow_negative_numbers = true)]
    pub residual_weight: Option<f64>,
    /// Activation: gelu, sigmoid, tanh, relu, leaky_relu, silu, mish, relu6, hardswish, hardsigmoid, hardtanh,
    /// softplus, log_sigmoid, celu, selu, softsign, softshrink, hardshrink, tanhshrink, prelu or rrelu
    #[arg(long)]
    #[serde(serialize_with = "as_text")]
    pub activation: Option<LayerActivation>,
    /// Activation of the last encoder layer: same, none, or as above
    #[arg(long)]
    #[serde(serialize_with = "as_text")]
    pub bottleneck_activation: Option<BottleneckActivation>,
    /// Where the encoder's layers normalize: before_conv, after_conv, after_activation or none
    #[arg(long, value_name = "POSITION")]
    #[serde(serialize_with = "as_text")]
    pub batch_norm_encoder: Option<BatchNormPosition>,
    /// Where the decoder's layers normalize
    #[arg(long, value_name = "POSITION")]
    #[serde(serialize_with = "as_text")]
    pub batch_norm_decoder: Option<BatchNormPosition>,
    /// Whether the last layers of the encoder and the decoder normalize too
    #[arg(long, action = ArgAction::Set, value_name = "BOOL")]
    pub batch_norm_last_layers: Option<bool>,
}

fn as_text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
