//! The settings of a run: what they are, where they come from, and which values they may have.
//!
//! [`Settings`] is complete: every run has exactly one, and writes it to its folder as `settings.toml`. [`resolve`] makes it from
//! [`Layer`]s that may leave anything out, over the preset and the defaults. What stands further up wins:
//!
//! 1. flags
//! 2. the file of `--config`
//! 3. the settings of the run that `--resume` continues
//! 4. `--quick`
//! 5. the preset
//! 6. the defaults
//!
//! A settings file may have any of the keys of `settings.toml`; they are the flags' names, with underscores:
//!
//! ```toml
//! preset = "original"
//! [network]
//! layers = 3
//! channels = [16, 32]     # from the first to the last encoder layer
//! [training]
//! samples = 60000
//! [run]
//! threads = 2
//! ```

mod flags;
#[cfg(test)]
mod tests;

pub use flags::{NetworkFlags, RunFlags, SettingsFlags, TrainingFlags};

use crate::data::Search;
use crate::system::files::{self, FileError};
use crate::train::device::Device;
use clap::{Args, Command};
use model::ResConvConfig;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Longest settings file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Every setting of a training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where settings come from that are not given otherwise.
    pub preset: Preset,
    /// Which network.
    pub network: ResConvConfig,
    /// How it is trained: whatever changes the numbers, and is no part of the network.
    pub training: TrainingSettings,
    /// Where it runs, and what it writes: but for the device, its TF32, and steps that are skipped, nothing that changes the numbers.
    pub run: RunSettings,
}

/// How the network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingSettings {
    /// Height and width of the images that the network sees, in pixels.
    pub size: usize,
    /// Training images in all; an epoch is 60,000.
    pub samples: u64,
    /// Images a step, of all ranks.
    pub batch: usize,
    /// Highest learning rate.
    pub lr: f64,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Learning rate over the run.
    pub schedule: ScheduleSetting,
    /// Training images over which the learning rate rises to its highest.
    pub warmup: u64,
    /// Of the initial weights, the order of the images and the missing halves.
    pub seed: u64,
    /// Weights to begin with in place of random ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
}

impl Default for TrainingSettings {
    fn default() -> TrainingSettings {
        TrainingSettings {
            size: 32,
            samples: 180_000,
            batch: 64,
            lr: 3e-4,
            weight_decay: 0.01,
            schedule: ScheduleSetting::Cosine,
            warmup: 0,
            seed: 0,
            init: None,
        }
    }
}

/// Where a run computes, and what it reads and writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// What computes.
    pub device: Device,
    /// Whether convolutions run on tensor cores in TF32: faster on some GPUs, with 10 bits of mantissa in place of 23.
    pub tf32: bool,
    /// Threads that compute, of each rank; 0 for one a core.
    pub threads: usize,
    /// MiB that a pass over a batch may take, what does not fit being computed again; 0 for no limit.
    pub memory_limit: usize,
    /// Training images between checkpoints; 0 for one at the end only.
    pub checkpoint_every: u64,
    /// Minutes after which a checkpoint is written in any case; 0 for never.
    pub checkpoint_minutes: f64,
    /// Checkpoints that are kept, beside the best.
    pub keep_checkpoints: usize,
    /// What is done about a loss or gradient that is not finite.
    pub on_nan: OnNan,
    /// Training images between validations; 0 for one at the end only.
    pub validate_every: u64,
    /// The dataset's folder. Absent: searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Whether to take dataset files whose checksums are not the published ones.
    pub unverified_data: bool,
    /// The run's folder. Absent: [`Settings::out`] makes a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<PathBuf>,
    /// Whether the reconstruction picture has the true images as a third row.
    pub picture_truth: bool,
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            device: Device::Auto,
            tf32: false,
            threads: 0,
            memory_limit: 0,
            checkpoint_every: 10_000,
            checkpoint_minutes: 10.0,
            keep_checkpoints: 2,
            on_nan: OnNan::Stop,
            validate_every: 60_000,
            data: None,
            unverified_data: false,
            out: None,
            picture_truth: false,
        }
    }
}

/// A named set of settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The network as the study's text describes it
    #[default]
    Default,
    /// The network as the study's code has it: skip connections weigh 0.1, no activation in the last encoder layer
    Original,
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

/// What is done about a loss or gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// The run ends, and says where the value came from
    Stop,
    /// The step changes nothing, and is counted
    Skip,
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A settings file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A settings file is not TOML, has an unknown key, or a value of another type.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key, and what was expected.
        message: String,
    },
    /// A value is out of range.
    #[error("{origin}: expected {expected}, got {got}")]
    Value {
        /// The flag, or the file and key, that gave the value.
        origin: String,
        /// The range.
        expected: String,
        /// The value.
        got: String,
    },
    /// The values of the layers do not go together as types.
    #[error("contradictory settings: {0}")]
    Merge(toml::de::Error),
    /// A value cannot be written to a settings file.
    #[error("settings that cannot be written to a file: {0}")]
    Write(#[from] toml::ser::Error),
    /// A resumed run was asked to be another one.
    #[error(
        "cannot resume with another {key}: the run was started with {had}, now it is {got}; \
         leave it out, or start a new run with --out"
    )]
    Changed {
        /// The setting.
        key: String,
        /// Its value in the checkpoint.
        had: String,
        /// Its value now.
        got: String,
    },
}

/// One of the places that settings come from.
#[derive(Clone, Debug)]
pub struct Layer {
    origin: Origin,
    values: Table,
}

#[derive(Clone, Debug)]
enum Origin {
    Flags,
    File(PathBuf),
    /// A table of a file that has settings without their sections.
    Flat(PathBuf, &'static str),
    Checkpoint,
    Quick,
}

impl Layer {
    /// What the flags say.
    ///
    /// # Errors
    /// [`SettingsError::Write`] for a path that is not UTF-8.
    pub fn flags(flags: &SettingsFlags) -> Result<Layer, SettingsError> {
        Ok(Layer { origin: Origin::Flags, values: Table::try_from(flags)? })
    }

    /// What a settings file says.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has an unknown key or a value of another type.
    pub fn file(path: &Path) -> Result<Layer, SettingsError> {
        Layer::text(path, &files::read_text(path, MAX_FILE_BYTES)?)
    }

    /// What the text of the settings file `path` says.
    ///
    /// # Errors
    /// If it is no TOML, or has an unknown key or a value of another type.
    pub fn text(path: &Path, text: &str) -> Result<Layer, SettingsError> {
        let parse = |e: toml::de::Error| SettingsError::Parse {
            path: path.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        };
        toml::from_str::<Settings>(text).map_err(parse)?;
        Ok(Layer { origin: Origin::File(path.to_owned()), values: text.parse().map_err(parse)? })
    }

    /// What the table `table` of the file `path` says, which has settings by their names alone, without sections.
    ///
    /// # Errors
    /// If there is no setting of such a name, or a value is of another type.
    pub fn flat(path: &Path, table: &'static str, settings: &Table) -> Result<Layer, SettingsError> {
        let mut values = Table::new();
        for (key, value) in settings {
            let wrong = |message: &str| SettingsError::Parse {
                path: path.to_owned(),
                message: format!("[{table}] {key}: {message}"),
            };
            let section = section_of(key).ok_or_else(|| wrong("there is no setting of this name"))?;
            let mut single = Table::from_iter([(key.clone(), value.clone())]);
            if let Some(section) = section {
                single = Table::from_iter([(section.to_owned(), Value::Table(single))]);
            }
            single.clone().try_into::<Settings>().map_err(|error| wrong(error.message()))?;
            lay_over(&mut values, &single);
        }
        Ok(Layer { origin: Origin::Flat(path.to_owned(), table), values })
    }

    /// The settings of the run that is resumed, but for its choice of folder, threads and memory.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn resumed(settings: &Settings) -> Result<Layer, SettingsError> {
        let mut values = Table::try_from(settings)?;
        if let Some(Value::Table(run)) = values.get_mut("run") {
            run.remove("out");
            run.remove("threads");
            run.remove("memory_limit");
        }
        Ok(Layer { origin: Origin::Checkpoint, values })
    }

    /// The settings that a network was trained with, without those of where.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn trained(settings: &Settings) -> Result<Layer, SettingsError> {
        let mut values = Table::try_from(settings)?;
        values.remove("run");
        Ok(Layer { origin: Origin::Checkpoint, values })
    }

    /// What the shapes of a checkpoint's tensors tell of its network.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn inferred(network: &NetworkFlags) -> Result<Layer, SettingsError> {
        let flags = SettingsFlags { network: network.clone(), ..SettingsFlags::default() };
        Ok(Layer { origin: Origin::Checkpoint, values: Table::try_from(flags)? })
    }

    /// What `--quick` says: a run of about a minute on two cores that completes halves visibly.
    ///
    /// Seven layers see as far as half an image is wide. Small batches and a high learning rate make the most of few images: 9,600
    /// end at a validation loss of 0.087, where batches of 64 at the study's learning rate end at 0.13 (5 layers, 12,000 images).
    pub fn quick() -> Layer {
        let section = |values: &[(&str, Value)]| {
            Value::Table(values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        let training = [("samples", Value::Integer(9_600)), ("batch", Value::Integer(32)), ("lr", Value::Float(2e-3))];
        let values = [
            ("network", section(&[("layers", Value::Integer(7))])),
            ("training", section(&training)),
            ("run", section(&[("out", Value::String("runs/quick".to_owned()))])),
        ];
        Layer {
            origin: Origin::Quick,
            values: values.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
        }
    }
}

/// The settings that `layers` give over the preset and the defaults; the first layer wins.
///
/// # Errors
/// [`SettingsError::Value`] for a value out of range, naming the flag or the file that gave it.
pub fn resolve(layers: &[Layer]) -> Result<Settings, SettingsError> {
    let overlay = |base: &Settings| -> Result<Settings, SettingsError> {
        let mut values = Table::try_from(base)?;
        for layer in layers.iter().rev() {
            lay_over(&mut values, &layer.values);
        }
        values.try_into().map_err(SettingsError::Merge)
    };
    let preset = overlay(&Settings::default())?.preset;
    let settings = overlay(&preset.settings())?;
    match settings.check() {
        Ok(()) => Ok(settings),
        Err(OutOfRange { section, key, expected, got }) => {
            Err(SettingsError::Value { origin: origin(layers, section, key), expected, got })
        }
    }
}

/// The section of a setting, none for one that stands above all sections; nothing for what is no setting.
fn section_of(key: &str) -> Option<Option<&'static str>> {
    type Augment = fn(Command) -> Command;
    let sections: [(&str, Augment); 3] = [
        ("network", NetworkFlags::augment_args),
        ("training", TrainingFlags::augment_args),
        ("run", RunFlags::augment_args),
    ];
    let has = |augment: Augment| augment(Command::new("")).get_arguments().any(|flag| flag.get_id() == key);
    let found = sections.into_iter().find(|(_, augment)| has(*augment)).map(|(section, _)| Some(section));
    if key == "preset" { Some(None) } else { found }
}

fn lay_over(base: &mut Table, top: &Table) {
    for (key, value) in top {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(top)) => lay_over(base, top),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The flag or file that gave a value, as messages name it.
fn origin(layers: &[Layer], section: &str, key: &str) -> String {
    let has = |layer: &&Layer| layer.values.get(section).and_then(|s| s.get(key)).is_some();
    match layers.iter().find(has).map(|layer| &layer.origin) {
        Some(Origin::Flags) => format!("--{}", key.replace('_', "-")),
        Some(Origin::File(path)) => format!("{}: [{section}] {key}", path.display()),
        Some(Origin::Flat(path, table)) => format!("{}: [{table}] {key}", path.display()),
        Some(Origin::Checkpoint) => format!("the checkpoint's setting [{section}] {key}"),
        Some(Origin::Quick) | None => format!("[{section}] {key}"),
    }
}

impl Preset {
    /// The defaults with the preset's changes.
    pub fn settings(self) -> Settings {
        let defaults = Settings { preset: self, ..Settings::default() };
        match self {
            Preset::Default => defaults,
            Preset::Original => Settings { network: ResConvConfig::original(defaults.network.layers), ..defaults },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preset::Default => "default",
            Preset::Original => "original",
        })
    }
}

impl Settings {
    /// The run's folder: `--out`, or one named after preset, depth and seed.
    pub fn out(&self) -> PathBuf {
        match &self.run.out {
            Some(out) => out.clone(),
            None => format!("runs/{}-l{}-s{}", self.preset, self.network.layers, self.training.seed).into(),
        }
    }

    /// Where the dataset is looked for, and what is taken for it.
    pub fn search(&self) -> Search {
        Search { unverified: self.run.unverified_data, ..Search::new(self.run.data.clone()) }
    }

    /// The settings in the settings file of a run.
    ///
    /// # Errors
    /// As [`Layer::file`] and [`resolve`].
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
        resolve(&[Layer::file(path)?])
    }

    /// As a settings file.
    ///
    /// # Errors
    /// [`SettingsError::Write`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, SettingsError> {
        Ok(toml::to_string(self)?)
    }

    /// Checks that a run with these settings computes the same numbers as one with `had`.
    ///
    /// # Errors
    /// [`SettingsError::Changed`] naming the first setting that differs.
    pub fn check_resumes(&self, had: &Settings) -> Result<(), SettingsError> {
        let (now, had) = (Table::try_from(self)?, Table::try_from(had)?);
        for section in ["network", "training"] {
            let value = |settings: &Table, key: &str| settings.get(section).and_then(|s| s.get(key)).cloned();
            let keys = |settings: &Table| -> Vec<String> {
                settings.get(section).and_then(Value::as_table).into_iter().flat_map(Table::keys).cloned().collect()
            };
            for key in keys(&now).into_iter().chain(keys(&had)) {
                let (now, had) = (value(&now, &key), value(&had, &key));
                if now != had {
                    let show = |value: Option<Value>| value.map_or_else(|| "not given".to_owned(), |v| v.to_string());
                    return Err(SettingsError::Changed { key, had: show(had), got: show(now) });
                }
            }
        }
        Ok(())
    }

    /// The value of a setting, as a settings file has it; nothing for what is no setting, or is not set.
    pub fn value(&self, key: &str) -> Option<Value> {
        let mut table = Table::try_from(self).ok()?;
        match section_of(key)? {
            Some(section) => table.get_mut(section)?.as_table_mut()?.remove(key),
            None => table.remove(key),
        }
    }

    fn check(&self) -> Result<(), OutOfRange> {
        let Settings { network, training: t, run, .. } = self;
        if let Err(error) = network.validate() {
            return Err(match error {
                model::Error::Config { field, expected, got } => {
                    OutOfRange { section: "network", key: field, expected, got }
                }
                // Only a configuration is checked here; whatever else it may become, its message says more than a guess.
                other => OutOfRange {
                    section: "network",
                    key: "layers",
                    expected: "a valid network".to_owned(),
                    got: other.to_string(),
                },
            });
        }
        let grey = |key, channels| OutOfRange::unless("network", key, channels == 1, "1: images are grey", channels);
        grey("in_channels", network.in_channels)?;
        grey("out_channels", network.out_channels)?;
        let whole = |section, key, value: u64, [min, max]: [u64; 2]| {
            let expected = format!("a whole number from {min} to {max}");
            OutOfRange::unless(section, key, (min..=max).contains(&value), &expected, value)
        };
        whole("training", "size", t.size as u64, [2, 1024])?;
        whole("training", "samples", t.samples, [1, 1_000_000_000_000])?;
        whole("training", "batch", t.batch as u64, [1, 65_536])?;
        whole("training", "warmup", t.warmup, [0, t.samples])?;
        whole("training", "seed", t.seed, [0, i64::MAX as u64])?;
        whole("run", "threads", run.threads as u64, [0, 1024])?;
        whole("run", "memory_limit", run.memory_limit as u64, [0, 1 << 24])?;
        whole("run", "keep_checkpoints", run.keep_checkpoints as u64, [1, 1_000_000])?;
        let minutes = run.checkpoint_minutes;
        let expected = "a finite number of 0 or more";
        OutOfRange::unless("run", "checkpoint_minutes", minutes.is_finite() && minutes >= 0.0, expected, minutes)?;
        let number = |key, value: f64, right: bool, expected| {
            OutOfRange::unless("training", key, value.is_finite() && right, expected, value)
        };
        number("lr", t.lr, t.lr > 0.0, "a finite number above 0")?;
        number("weight_decay", t.weight_decay, t.weight_decay >= 0.0, "a finite number of 0 or more")
    }
}

/// A value that a run cannot have.
struct OutOfRange {
    section: &'static str,
    key: &'static str,
    expected: String,
    got: String,
}

impl OutOfRange {
    fn unless(
        section: &'static str,
        key: &'static str,
        right: bool,
        expected: &str,
        got: impl fmt::Display,
    ) -> Result<(), OutOfRange> {
        if right {
            return Ok(());
        }
        Err(OutOfRange { section, key, expected: expected.to_owned(), got: got.to_string() })
    }
}
