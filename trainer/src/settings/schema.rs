//! All settings of a run, and the flags for them.

use super::error::SettingsError;
use super::network::NetworkFlags;
use super::section::{RunFlags, RunSettings, TrainingFlags, TrainingSettings};
use crate::data::{Data, DataRequest, Search};
use crate::system::files::absolute;
use clap::{Arg, Args};
use model::{Padding, ResConvConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;
use toml::{Table, Value};

/// Every setting of a training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The set of values for all settings that are not given.
    pub preset: Preset,
    /// The network.
    pub network: ResConvConfig,
    /// How it is trained: all other settings that change the results.
    pub training: TrainingSettings,
    /// Where it runs, and what it writes. Of these settings, only `device`, `precision`, `on_nan` and `patience` change
    /// the results, the last by what the validations are that it counts.
    pub run: RunSettings,
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

/// Whether a setting may have one value before a run has its images, and another one after that.
fn follows_from_images(key: &str, had: Option<&Value>, now: Option<&Value>) -> bool {
    match key {
        "in_channels" | "out_channels" => true,
        "fit" => had.is_none() || now.is_none(),
        _ => false,
    }
}

/// A setting that two runs do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Its name.
    pub(crate) key: String,
    /// Its value in the one, as a settings file has it.
    pub(crate) had: String,
    /// Its value in the other.
    pub(crate) now: String,
}

/// Any of the [`Settings`], in the same sections and with the same names.
#[derive(Clone, Debug, Default, Args, Serialize)]
#[command(mut_args = show_default)]
pub struct SettingsFlags {
    /// Settings that the others are laid over
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

/// Adds the default of a setting to the help of its flag.
pub fn show_default(flag: Arg) -> Arg {
    static DEFAULTS: LazyLock<Table> = LazyLock::new(|| Table::try_from(Settings::default()).unwrap_or_default());
    let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
    match find(&DEFAULTS, flag.get_id().as_str()) {
        Some(default) if *default != Value::Boolean(false) && !help.contains("[default: ") => {
            flag.help(format!("{help} [default: {}]", value_text(default)))
        }
        _ => flag,
    }
}

/// The value of the setting `key` in a table of settings and sections.
fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let above = table.get(key).filter(|value| !value.is_table());
    above.or_else(|| table.values().find_map(|section| section.get(key)))
}

/// A value as the command line has it: `16,32,64` for a list.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        Value::Array(values) => values.iter().map(value_text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
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

    /// Where the dataset is looked for, and whether its files must have the known checksums.
    pub fn search(&self) -> Search {
        Search { unverified: self.run.unverified_data, ..Search::new(self.run.data.clone()) }
    }

    /// The images that a run has.
    pub fn data_request(&self) -> DataRequest {
        let Settings { training, run, .. } = self;
        DataRequest {
            search: self.search(),
            format: run.data_format,
            size: training.size,
            fit: training.fit,
            grey: training.grey,
            validation_share: training.validation_share,
            memory_limit: run.data_memory << 20,
            skip_unreadable: run.skip_unreadable,
        }
    }

    /// The same with what follows from the images: their channels, and how they become squares.
    ///
    /// # Errors
    /// [`SettingsError::Task`] if the task is for images in colour and these are grey, [`SettingsError::Value`] if the
    /// network's settings do not fit them.
    pub(crate) fn with_data(&self, data: &Data) -> Result<Settings, SettingsError> {
        let channels = data.train.channels();
        self.training.task.check_channels(channels)?;
        let mut settings = self.clone();
        settings.training.fit = Some(data.fit);
        settings.network.in_channels = self.training.task.input_channels(channels);
        settings.network.out_channels = channels;
        settings.check(&|section, key| format!("[{section}] {key}"))?;
        Ok(settings)
    }

    /// As the settings file of a run's folder, which does not say where that folder is: it can be moved, and its
    /// settings can be those of another run.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn to_toml_of_folder(&self) -> Result<String, SettingsError> {
        let mut settings = self.clone();
        settings.run.out = None;
        settings.to_toml()
    }

    /// As a settings file.
    ///
    /// # Errors
    /// [`SettingsError::Write`] for a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, SettingsError> {
        Ok(toml::to_string(self)?)
    }

    /// Checks that a run with these settings computes the same results as one with `had`.
    ///
    /// # Errors
    /// [`SettingsError::Changed`] naming the first setting that differs.
    pub fn check_resumes(&self, had: &Settings) -> Result<(), SettingsError> {
        // Older versions kept paths as they were given.
        let mut had = had.clone();
        had.training.init = had.training.init.map(|path| absolute(&path));
        match had.differences(self, &["network", "training"])?.into_iter().next() {
            Some(Difference { key, had, now: got }) => Err(SettingsError::Changed { key, had, got }),
            None => Ok(()),
        }
    }

    /// As [`check_resumes`](Self::check_resumes), of a run that may have been meant to be shorter.
    ///
    /// # Errors
    /// As [`check_resumes`](Self::check_resumes).
    pub(crate) fn check_goes_on(&self, had: &Settings) -> Result<(), SettingsError> {
        let mut longer = had.clone();
        longer.training.samples = had.training.samples.max(self.training.samples);
        self.check_resumes(&longer)
    }

    /// The settings of some sections that are others in `now`. What follows from the images is left out.
    ///
    /// # Errors
    /// [`SettingsError::Write`] for a path that is not UTF-8.
    pub(crate) fn differences(&self, now: &Settings, sections: &[&str]) -> Result<Vec<Difference>, SettingsError> {
        let (had, now) = (Table::try_from(self)?, Table::try_from(now)?);
        let mut found = Vec::new();
        for section in sections {
            let table =
                |settings: &Table| settings.get(*section).and_then(Value::as_table).cloned().unwrap_or_default();
            let (had, now) = (table(&had), table(&now));
            let removed = had.keys().filter(|key| !now.contains_key(*key));
            for key in now
                .keys()
                .chain(removed)
                .filter(|key| had.get(*key) != now.get(*key))
                .filter(|key| !follows_from_images(key, had.get(*key), now.get(*key)))
            {
                let show = |value: Option<&Value>| value.map_or_else(|| "not given".to_owned(), Value::to_string);
                found.push(Difference { key: key.clone(), had: show(had.get(key)), now: show(now.get(key)) });
            }
        }
        Ok(found)
    }

    /// What it trains, in a line: the depth, the preset, and every other setting of the network and its training that
    /// is not the preset's.
    pub fn told(&self) -> String {
        let layers = match self.network.layers {
            1 => "1 layer".to_owned(),
            layers => format!("{layers} layers"),
        };
        let others = self.preset.settings().differences(self, &["network", "training"]).unwrap_or_default();
        let others = others.iter().filter(|other| other.key != "layers");
        let others: Vec<String> =
            others.map(|other| format!("{} {}", other.key.replace('_', " "), self.shown(&other.key))).collect();
        [vec![layers, format!("preset {}", self.preset)], others].concat().join(", ")
    }

    /// What is true of a trained network wherever it is: without the section `[run]` and the path of the first weights.
    pub(crate) fn without_places(&self) -> Settings {
        let training = TrainingSettings { init: None, ..self.training.clone() };
        Settings { training, run: RunSettings::default(), ..self.clone() }
    }

    /// The value of a setting, as a settings file has it. `None` for a name that is not a setting's, or a setting that
    /// is absent.
    pub fn value(&self, key: &str) -> Option<Value> {
        find(&Table::try_from(self).ok()?, key).cloned()
    }

    /// The value of a setting as tables show it. A padding that depends on the kernel is shown as the number that it
    /// is.
    pub fn shown(&self, key: &str) -> String {
        if let (Padding::Auto, Some(kernel), "padding") = (self.network.padding, self.network.kernel_size.same(), key) {
            return (kernel / 2).to_string();
        }
        self.value(key).map_or_else(String::new, |value| value_text(&value))
    }
}
