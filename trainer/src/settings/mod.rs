//! The settings of a run: what they are, where they come from, and which values they may have.
//!
//! [`Settings`] is complete: every run has exactly one, and writes it to its folder as `settings.toml`. [`resolve`]
//! makes it from [`SettingsSource`]s that may leave anything out, over the preset and the defaults. What is further up
//! in this list wins:
//!
//! 1. flags
//! 2. the file of `--config`
//! 3. the settings of the run that `--resume` continues
//! 4. `--quick`
//! 5. the preset
//! 6. the defaults
//!
//! Relative paths are those of the folder that the command is run in, also in a file.
//!
//! A settings file may have any of the keys of `settings.toml`; they are the flags' names, with underscores:
//!
//! ```toml
//! preset = "original"
//! [network]
//! layers = 3
//! channels = "16:32"      # from the first to the last encoder layer; [16, 24, 32] says what each has
//! [training]
//! samples = 60000
//! [run]
//! threads = 2
//! ```

mod device;
mod error;
mod network;
mod ranges;
mod resolve;
mod schema;
mod section;
mod source;
#[cfg(test)]
mod tests;

pub use device::{Device, UnknownDevice};
pub use error::SettingsError;
pub use network::NetworkFlags;
pub use ranges::MOST_SAMPLES;
pub use resolve::resolve;
pub(crate) use schema::Difference;
pub use schema::{Preset, Settings, SettingsFlags, show_default, value_text};
pub use section::{
    LossSetting, OnNan, PrecisionSetting, RunFlags, RunSettings, ScheduleSetting, TrainingFlags, TrainingSettings,
};
pub use source::SettingsSource;
