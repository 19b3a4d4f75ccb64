//! The places that settings come from: flags, files, checkpoints.

use super::error::SettingsError;
use super::network::NetworkFlags;
use super::schema::{Settings, SettingsFlags};
use super::section::{RunFlags, TrainingFlags};
use crate::system::files;
use clap::{Args, Command};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Longest settings file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Settings that come from one place: flags, a file, a checkpoint. Any of them may be missing.
#[derive(Clone, Debug)]
pub struct SettingsSource {
    origin: Origin,
    pub(super) values: Table,
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

impl SettingsSource {
    /// The settings of the flags.
    ///
    /// # Errors
    /// [`SettingsError::Write`] for a path that is not UTF-8.
    pub fn flags(flags: &SettingsFlags) -> Result<SettingsSource, SettingsError> {
        Ok(SettingsSource { origin: Origin::Flags, values: Table::try_from(flags)? })
    }

    /// The settings of a file.
    ///
    /// # Errors
    /// If it cannot be read, is not TOML, or has an unknown key or a value of another type.
    pub fn file(path: &Path) -> Result<SettingsSource, SettingsError> {
        SettingsSource::text(path, &files::read_text(path, MAX_FILE_BYTES)?)
    }

    /// The settings in the text of the file `path`.
    ///
    /// # Errors
    /// If it is not TOML, or has an unknown key or a value of another type.
    pub fn text(path: &Path, text: &str) -> Result<SettingsSource, SettingsError> {
        let parse = |e: toml::de::Error| SettingsError::Parse {
            path: path.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        };
        toml::from_str::<Settings>(text).map_err(parse)?;
        let mut values: Table = text.parse().map_err(parse)?;
        use_current_names(&mut values);
        Ok(SettingsSource { origin: Origin::File(path.to_owned()), values })
    }

    /// The settings of the table `table` in the file `path`, which has them by their names, without sections.
    ///
    /// # Errors
    /// If there is no setting of such a name, or a value is of another type.
    pub fn flat(path: &Path, table: &'static str, settings: &Table) -> Result<SettingsSource, SettingsError> {
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
        Ok(SettingsSource { origin: Origin::Flat(path.to_owned(), table), values })
    }

    /// The settings of the run that is resumed, without its folder, threads and memory limit.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn resumed(settings: &Settings) -> Result<SettingsSource, SettingsError> {
        let mut values = Table::try_from(settings)?;
        if let Some(Value::Table(run)) = values.get_mut("run") {
            run.remove("out");
            run.remove("threads");
            run.remove("memory_limit");
        }
        Ok(SettingsSource { origin: Origin::Checkpoint, values })
    }

    /// The settings that a network was trained with, without the section `[run]`.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn trained(settings: &Settings) -> Result<SettingsSource, SettingsError> {
        let mut values = Table::try_from(settings)?;
        values.remove("run");
        Ok(SettingsSource { origin: Origin::Checkpoint, values })
    }

    /// The settings of a network that follow from the shapes of a checkpoint's tensors.
    ///
    /// # Errors
    /// As [`flags`](Self::flags).
    pub fn inferred(network: &NetworkFlags) -> Result<SettingsSource, SettingsError> {
        let flags = SettingsFlags { network: network.clone(), ..SettingsFlags::default() };
        Ok(SettingsSource { origin: Origin::Checkpoint, values: Table::try_from(flags)? })
    }

    /// Whether it has a value for a setting of a section.
    pub fn says(&self, section: &str, key: &str) -> bool {
        self.values.get(section).is_some_and(|section| section.get(key).is_some())
    }

    /// Whether it has a preset, which says every setting.
    pub fn says_preset(&self) -> bool {
        self.values.contains_key("preset")
    }

    /// The settings of `--quick`: a run of about a minute on two cores after which the restored halves are
    /// recognizable.
    ///
    /// An output pixel of seven layers sees half the width of an image. Small batches and a high learning rate make the
    /// most of few images: 9,600 end at a validation loss of 0.087; batches of 64 at the study's learning rate end at
    /// 0.13 (5 layers, 12,000 images).
    pub fn quick() -> SettingsSource {
        let values = toml::toml! {
            [network]
            layers = 7
            [training]
            samples = 9600
            batch = 32
            lr = 2e-3
            [run]
            out = "runs/quick"
        };
        SettingsSource { origin: Origin::Quick, values }
    }
}

/// The flag or file that gave a value, as messages name it.
pub(super) fn origin(sources: &[SettingsSource], section: &str, key: &str) -> String {
    let has = |source: &&SettingsSource| source.values.get(section).and_then(|s| s.get(key)).is_some();
    match sources.iter().find(has).map(|source| &source.origin) {
        Some(Origin::Flags) => format!("--{}", key.replace('_', "-")),
        Some(Origin::File(path)) => format!("{}: [{section}] {key}", path.display()),
        Some(Origin::Flat(path, table)) => format!("{}: [{table}] {key}", path.display()),
        Some(Origin::Checkpoint) => format!("the checkpoint's setting [{section}] {key}"),
        Some(Origin::Quick) | None => format!("[{section}] {key}"),
    }
}

/// Renames what earlier versions called otherwise.
fn use_current_names(values: &mut Table) {
    if let Some(Value::Table(run)) = values.get_mut("run")
        && let Some(tf32) = run.remove("tf32")
    {
        run.insert("precision".to_owned(), tf32);
    }
}

/// The section of a setting: `Some(None)` for one that stands above all sections, `None` for a name that is not a
/// setting's.
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

/// Overwrites the values of `base` with those that `top` has.
pub(super) fn lay_over(base: &mut Table, top: &Table) {
    for (key, value) in top {
        match (base.get_mut(key), value) {
            (Some(Value::Table(base)), Value::Table(top)) => lay_over(base, top),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}
