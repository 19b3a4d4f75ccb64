//! What is wrong with settings.

use crate::system::files::FileError;
use crate::tasks::NeedsColors;
use std::path::PathBuf;

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
    /// The task is not for the images.
    #[error(transparent)]
    Task(#[from] NeedsColors),
    /// The values of the sources have types that do not fit together.
    #[error("contradictory settings: {0}")]
    Merge(toml::de::Error),
    /// A value cannot be written to a settings file.
    #[error("settings that cannot be written to a file: {0}")]
    Write(#[from] toml::ser::Error),
    /// The settings are not those of the run to resume.
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
