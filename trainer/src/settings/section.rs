//! The settings of the sections `[training]` and `[run]`: the name, the type, the default and the help of each stand
//! here once.

use super::device::Device;
use crate::data::{Fit, Format};
use crate::tasks::Task;
use clap::Args;
use engine::Precision;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Defines the settings of a section and the flags for them from one table. A row has the help, the name, the type, the
/// default (a setting without a default may be absent), and the attribute of the flag.
macro_rules! section {
    (
        $(#[$about:meta])* $settings:ident, $flags:ident, $heading:literal;
        $($(#[$help:meta])* $name:ident: $type:ty $(= $default:expr)?, #[$flag:meta];)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $settings {
            $($(#[$help])* pub $name: section!(@type $type $(= $default)?),)*
        }

        impl Default for $settings {
            fn default() -> $settings {
                $settings { $($name: section!(@default $($default)?),)* }
            }
        }

        #[doc = concat!("Any of the [`", stringify!($settings), "`].")]
        #[derive(Clone, Debug, Default, Args, Serialize)]
        #[command(next_help_heading = $heading)]
        pub struct $flags {
            $($(#[$help])* #[$flag] pub $name: Option<$type>,)*
        }
    };
    (@type $type:ty) => { Option<$type> };
    (@type $type:ty = $default:expr) => { $type };
    (@default) => { None };
    (@default $default:expr) => { $default };
}

section! {
    /// How the network is trained.
    TrainingSettings, TrainingFlags, "Training";
    /// What is wrong with the images; several kinds of damage follow each other: blur:1.5,noise:0.1. `resconv train
    /// --help` ends with a list of them
    task: Task = Task::default(), #[arg(long)];
    /// Height and width of the squares that the network sees, in pixels
    size: usize = 32, #[arg(long)];
    /// How images become such squares [default: crop for a folder of pictures, resize for datasets of small images]
    #[serde(skip_serializing_if = "Option::is_none")]
    fit: Fit, #[arg(long, value_enum)];
    /// Turn colours to grey
    grey: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
    /// Share of the images that is kept for validation, if the dataset does not say which (a folder of pictures does by
    /// subfolders train and validation)
    validation_share: f64 = 0.1, #[arg(long, value_name = "SHARE")];
    /// Turn and mirror training images at random
    augment: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
    /// What training minimises
    loss: LossSetting = LossSetting::L1, #[arg(long, value_enum)];
    /// Training images in all; an epoch of Fashion-MNIST is 60000
    samples: u64 = 180_000, #[arg(long)];
    /// Images a step, of all processes that mpirun started
    batch: usize = 64, #[arg(long)];
    /// Highest learning rate
    lr: f64 = 3e-4, #[arg(long, allow_negative_numbers = true)];
    /// Decoupled weight decay of AdamW
    weight_decay: f64 = 0.01, #[arg(long, allow_negative_numbers = true)];
    /// Largest norm of the gradient of all weights together: a larger one is scaled down to it [default: none]
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_grad_norm: f64, #[arg(long, value_name = "NORM", allow_negative_numbers = true)];
    /// Learning rate over the run
    schedule: ScheduleSetting = ScheduleSetting::Cosine, #[arg(long, value_enum)];
    /// Training images over which the learning rate rises to its highest
    warmup: u64 = 0, #[arg(long, value_name = "SAMPLES")];
    /// Seed of the initial weights, the order of the images and their damage
    seed: u64 = 0, #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))];
    /// Begin with the weights of this safetensors file in place of random ones
    #[serde(skip_serializing_if = "Option::is_none")]
    init: PathBuf, #[arg(long, value_name = "WEIGHTS")];
}

section! {
    /// Where a run computes, and what it reads and writes.
    RunSettings, RunFlags, "Run";
    /// Device: auto (a GPU if there is one, else the CPU), cpu, cuda or cuda:N (an NVIDIA GPU, by number; only an
    /// emulator has run it yet), reference (naive loops in f64 on one thread: very slow)
    device: Device = Device::Auto, #[arg(long)];
    /// What convolutions multiply, on an NVIDIA GPU; all but f32 need compute capability 8.0 or later
    #[serde(alias = "tf32", deserialize_with = "precision_or_tf32")]
    precision: PrecisionSetting = PrecisionSetting::F32, #[arg(long, value_enum)];
    /// Launch every kernel of an NVIDIA GPU by itself, not all of a step as a CUDA graph: slower, to the same results
    no_graphs: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
    /// Threads that compute, of each process; 0 for one a core
    threads: usize = 0, #[arg(long)];
    /// MiB that the plan of a batch may take: what does not fit is computed again, more slowly; 0 for no limit
    memory_limit: usize = 0, #[arg(long, value_name = "MIB")];
    /// Training images between checkpoints; 0 for one at the end only
    checkpoint_every: u64 = 10_000, #[arg(long, value_name = "SAMPLES")];
    /// Minutes after which a checkpoint is written in any case; 0 for never
    checkpoint_minutes: f64 = 10.0, #[arg(long, value_name = "MINUTES", allow_negative_numbers = true)];
    /// Checkpoints to keep, in addition to the best
    keep_checkpoints: usize = 2, #[arg(long, value_name = "NUMBER")];
    /// What to do about a loss or gradient that is NaN or infinite
    on_nan: OnNan = OnNan::Stop, #[arg(long, value_enum)];
    /// Training images between validations; 0 for one at the end only
    validate_every: u64 = 60_000, #[arg(long, value_name = "SAMPLES")];
    /// Images of a validation, of all that there are [default: 10000, or 1024 squares of a folder of pictures]
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_images: u64, #[arg(long, value_name = "NUMBER")];
    /// Validations without a lower validation loss, with running statistics, after which the run ends early; 0 for
    /// never. The schedule stays that of all --samples
    patience: u64 = 0, #[arg(long, value_name = "VALIDATIONS")];
    /// Folder of the dataset's files, or of pictures [default: Fashion-MNIST, searched for, and fetched if there is
    /// none]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: PathBuf, #[arg(long, value_name = "DIR")];
    /// Format of the dataset
    data_format: Format = Format::Auto, #[arg(long, value_enum, value_name = "FORMAT")];
    /// MiB of decoded pictures that are kept in memory; the others are decoded whenever they are needed
    data_memory: usize = 4096, #[arg(long, value_name = "MIB")];
    /// Leave out pictures that cannot be read, and count them
    skip_unreadable: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
    /// Take dataset files whose checksums are not the published ones
    unverified_data: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
    /// Folder that the run is written to [default: runs/PRESET-lLAYERS-sSEED]
    #[serde(skip_serializing_if = "Option::is_none")]
    out: PathBuf, #[arg(long, value_name = "DIR")];
    /// Show the true images as a third row of the reconstruction picture
    picture_truth: bool = false,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")];
}

/// What convolutions multiply. Sums are in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionSetting {
    /// Numbers of 32 bits, on the FP32 units
    F32,
    /// As exact as f32, for 3x3 kernels of stride 1: sums of two numbers of TF32, on tensor cores
    Tf32x3,
    /// Numbers of TF32, on tensor cores: 10 bits of mantissa in place of 23
    Tf32,
}

impl fmt::Display for PrecisionSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Precision::from(*self).fmt(f)
    }
}

impl From<PrecisionSetting> for Precision {
    fn from(setting: PrecisionSetting) -> Precision {
        match setting {
            PrecisionSetting::F32 => Precision::F32,
            PrecisionSetting::Tf32x3 => Precision::Tf32x3,
            PrecisionSetting::Tf32 => Precision::Tf32,
        }
    }
}

/// A precision, or the value of `tf32` in files of earlier versions.
fn precision_or_tf32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PrecisionSetting, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected one of `f32`, `tf32x3`, `tf32`")]
    enum Said {
        Precision(PrecisionSetting),
        Tf32(bool),
    }
    Ok(match Said::deserialize(deserializer)? {
        Said::Precision(precision) => precision,
        Said::Tf32(true) => PrecisionSetting::Tf32,
        Said::Tf32(false) => PrecisionSetting::F32,
    })
}

/// What training minimises: the mean over all pixels and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LossSetting {
    /// Absolute error
    L1,
    /// Squared error
    Mse,
    /// Charbonnier's loss: the absolute error, but smooth near 0
    Charbonnier,
    /// 0.84 (1 - SSIM) + 0.16 times the absolute error, for images that look alike
    Ssim,
}

impl fmt::Display for LossSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LossSetting::L1 => "L1",
            LossSetting::Mse => "MSE",
            LossSetting::Charbonnier => "Charbonnier",
            LossSetting::Ssim => "SSIM and L1",
        })
    }
}

impl LossSetting {
    /// The weight of the structural similarity in [`LossSetting::Ssim`]: Zhao et al., "Loss functions for image
    /// restoration with neural networks", 2017, there with SSIM at several scales.
    pub(crate) const SSIM_WEIGHT: f64 = 0.84;

    /// What is added to the result of the plan, in which constants are left out.
    pub(crate) fn constant(self) -> f64 {
        if self == LossSetting::Ssim { LossSetting::SSIM_WEIGHT } else { 0.0 }
    }
}

/// Learning rate over the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleSetting {
    /// Falls to 0 along half a cosine
    Cosine,
    /// Stays as it is
    Constant,
}

/// What to do about a loss or gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// The run ends, and names the node that the value came from
    Stop,
    /// The step changes nothing, and is counted
    Skip,
}
