//! Settings as flags of the command line; every one may be left out.

use super::{OnNan, Preset, ScheduleSetting};
use crate::train::device::Device;
use clap::{ArgAction, Args};
use model::{BatchNormPosition, BottleneckActivation, LayerActivation, Padding, Ramp};
use serde::{Serialize, Serializer};
use std::fmt::Display;
use std::path::PathBuf;

/// Any of the [`Settings`](super::Settings), in the same sections and of the same names.
#[derive(Clone, Debug, Default, Args, Serialize)]
pub struct SettingsFlags {
    /// Settings that the others are laid over [default: default]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// `[network]`
    #[command(flatten)]
    pub network: NetworkFlags,
    /// `[training]`
    #[command(flatten)]
    pub training: TrainingFlags,
    /// `[run]`
    #[command(flatten)]
    pub run: RunFlags,
}

/// Any of the network's settings.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Network")]
pub struct NetworkFlags {
    /// Layers of the encoder; the decoder has as many [default: 15]
    #[arg(long)]
    pub layers: Option<usize>,
    /// Output channels of the encoder's layers: one number, or the first and the last layer's as in 16:64 [default: 32]
    #[arg(long)]
    pub channels: Option<Ramp>,
    /// Side of the kernels: one number, or the first and the last layer's as in 9:3 [default: 3]
    #[arg(long)]
    pub kernel_size: Option<Ramp>,
    /// Stride of every layer [default: 1]
    #[arg(long)]
    pub stride: Option<usize>,
    /// Zeros around the image in every layer; auto is half the kernel size [default: auto]
    #[arg(long)]
    pub padding: Option<Padding>,
    /// Groups that the channels of every inner layer are divided into [default: 1]
    #[arg(long)]
    pub groups: Option<usize>,
    /// Weight of the skip connections [default: 1]
    #[arg(long, allow_negative_numbers = true)]
    pub residual_weight: Option<f64>,
    /// Activation: gelu, sigmoid, tanh, relu, leaky_relu, silu, mish, relu6, hardswish, hardsigmoid, hardtanh, softplus,
    /// log_sigmoid, celu, selu, softsign, softshrink, hardshrink, tanhshrink, prelu or rrelu [default: gelu]
    #[arg(long)]
    #[serde(serialize_with = "as_text")]
    pub activation: Option<LayerActivation>,
    /// Activation of the last encoder layer: same, none, or as above [default: same]
    #[arg(long)]
    #[serde(serialize_with = "as_text")]
    pub bottleneck_activation: Option<BottleneckActivation>,
    /// Where the encoder's layers normalize: before_conv, after_conv, after_activation or none [default: before_conv]
    #[arg(long, value_name = "POSITION")]
    #[serde(serialize_with = "as_text")]
    pub batch_norm_encoder: Option<BatchNormPosition>,
    /// Where the decoder's layers normalize [default: before_conv]
    #[arg(long, value_name = "POSITION")]
    #[serde(serialize_with = "as_text")]
    pub batch_norm_decoder: Option<BatchNormPosition>,
    /// Whether the last layers of the encoder and the decoder normalize too [default: true]
    #[arg(long, action = ArgAction::Set, value_name = "BOOL")]
    pub batch_norm_last_layers: Option<bool>,
}

/// Any of the [`TrainingSettings`](super::TrainingSettings).
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Training")]
pub struct TrainingFlags {
    /// Height and width that images are resized to, in pixels [default: 32]
    #[arg(long)]
    pub size: Option<usize>,
    /// Training images in all; an epoch is 60000 [default: 180000]
    #[arg(long)]
    pub samples: Option<u64>,
    /// Images a step, of all processes that mpirun started [default: 64]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Highest learning rate [default: 3e-4]
    #[arg(long, allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Decoupled weight decay of AdamW [default: 0.01]
    #[arg(long, allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Learning rate over the run [default: cosine]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleSetting>,
    /// Training images over which the learning rate rises to its highest [default: 0]
    #[arg(long, value_name = "SAMPLES")]
    pub warmup: Option<u64>,
    /// Seed of the initial weights, the order of the images and the missing halves [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Begin with the weights of this safetensors file in place of random ones
    #[arg(long, value_name = "WEIGHTS")]
    pub init: Option<PathBuf>,
}

/// Any of the [`RunSettings`](super::RunSettings).
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(next_help_heading = "Run")]
pub struct RunFlags {
    /// What computes: auto (a GPU if there is one, else the CPU), cpu, cuda or cuda:N (an NVIDIA GPU, by number; no GPU has run it
    /// yet, only an emulator), reference (naive loops in f64 on one thread: very slow) [default: auto]
    #[arg(long)]
    pub device: Option<Device>,
    /// Convolve on the tensor cores of an NVIDIA GPU of compute capability 8.0 or later: operands are rounded to TF32, which has 10
    /// bits of mantissa in place of 23, sums are in f32; no GPU has run it yet, only an emulator
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub tf32: Option<bool>,
    /// Threads that compute, of each process; 0 for one a core [default: 0]
    #[arg(long)]
    pub threads: Option<usize>,
    /// MiB that a pass over a batch may take: what does not fit is computed again, more slowly; 0 for no limit [default: 0]
    #[arg(long, value_name = "MIB")]
    pub memory_limit: Option<usize>,
    /// Training images between checkpoints; 0 for one at the end only [default: 10000]
    #[arg(long, value_name = "SAMPLES")]
    pub checkpoint_every: Option<u64>,
    /// Minutes after which a checkpoint is written in any case; 0 for never [default: 10]
    #[arg(long, value_name = "MINUTES", allow_negative_numbers = true)]
    pub checkpoint_minutes: Option<f64>,
    /// Checkpoints that are kept, beside the best [default: 2]
    #[arg(long, value_name = "NUMBER")]
    pub keep_checkpoints: Option<usize>,
    /// What to do about a loss or gradient that is NaN or infinite [default: stop]
    #[arg(long, value_enum)]
    pub on_nan: Option<OnNan>,
    /// Training images between validations; 0 for one at the end only [default: 60000]
    #[arg(long, value_name = "SAMPLES")]
    pub validate_every: Option<u64>,
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Take dataset files whose checksums are not the published ones
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub unverified_data: Option<bool>,
    /// Folder that the run is written to [default: runs/PRESET-lLAYERS-sSEED]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show the true images as a third row of the reconstruction picture
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub picture_truth: Option<bool>,
}

fn as_text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
