//! From the sources to the settings of a run.

use super::error::SettingsError;
use super::schema::Settings;
use super::source::{SettingsSource, lay_over, origin};
use crate::system::files::absolute;
use std::path::Path;
use toml::Table;

/// The settings of `sources` over the preset and the defaults. The first source wins. Paths of files that are read are
/// absolute in the result, so that they mean the same wherever the run is resumed; relative ones are those of the
/// current folder.
///
/// # Errors
/// [`SettingsError::Value`] for a value out of range, naming the flag or the file that gave it.
pub fn resolve(sources: &[SettingsSource]) -> Result<Settings, SettingsError> {
    let overlay = |base: &Settings| -> Result<Settings, SettingsError> {
        let mut values = Table::try_from(base)?;
        for source in sources.iter().rev() {
            lay_over(&mut values, &source.values);
        }
        values.try_into().map_err(SettingsError::Merge)
    };
    let preset = overlay(&Settings::default())?.preset;
    let mut settings = overlay(&preset.settings())?;
    for path in [&mut settings.run.data, &mut settings.training.init].into_iter().flatten() {
        *path = absolute(path);
    }
    if !sources.iter().any(|source| source.says("network", "in_channels")) {
        settings.network.in_channels = settings.training.task.input_channels(settings.network.out_channels);
    }
    settings.check(&|section, key| origin(sources, section, key))?;
    Ok(settings)
}

impl Settings {
    /// The settings in the settings file of a run.
    ///
    /// # Errors
    /// As [`SettingsSource::file`] and [`resolve`].
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
        resolve(&[SettingsSource::file(path)?])
    }
}
