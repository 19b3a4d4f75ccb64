//! What the folder of a run holds.

use super::ReportError;
use crate::apply::eval::Errors;
use crate::output::summary::Summary;
use crate::settings::Settings;
use crate::sweep::{RunEntry, Status};
use crate::system::files::{self, FileError};
use crate::train::{RunFolder, ValidationRow, log};
use model::ResConv;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Longest picture that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// What is known of a run, which may still go on.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) settings: Settings,
    pub(super) parameters: usize,
    pub(super) status: Status,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// Images seen, and the loss, of every step.
    pub(super) training: Vec<(f64, f64)>,
    /// Every validation.
    pub(super) validations: Vec<ValidationRow>,
    /// Its summary, if it is done.
    pub(super) summary: Option<Summary>,
    pub(super) errors: Option<Errors>,
    /// The PNG file of its reconstructions.
    pub(super) picture: Option<Vec<u8>>,
    /// What of it cannot be read, or is not a number.
    pub(super) problems: Vec<String>,
}

impl Run {
    /// The run in a folder; nothing if it has no settings. Other files of it that cannot be read are left out, and are
    /// among its problems.
    ///
    /// # Errors
    /// If its settings cannot be read.
    pub(super) fn read(path: &Path) -> Result<Option<Run>, ReportError> {
        let folder = RunFolder::new(path);
        if !folder.settings().exists() {
            return Ok(None);
        }
        let settings = Settings::read(&folder.settings())?;
        let mut problems = Vec::new();
        let metrics: Vec<[f64; 4]> = kept(rows(&folder.metrics()), &mut problems).unwrap_or_default();
        let validations = kept(rows(&folder.validation()), &mut problems).unwrap_or_default();
        let is_done = folder.summary().exists();
        let summary = is_done.then(|| Summary::read(&folder.summary())).transpose();
        let summary = kept(summary, &mut problems);
        let errors = folder.errors().exists().then(|| Errors::read(&folder.errors())).transpose();
        let picture = folder.picture().exists().then(|| files::read_bytes(&folder.picture(), MAX_BYTES)).transpose();
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        let parameters = ResConv::new(settings.network.clone()).map_or(0, |network| network.parameter_count());
        let unfinished = if folder.is_in_use() { Status::Running } else { Status::Stopped };
        let run = Run {
            name,
            folder: path.to_owned(),
            settings,
            parameters,
            status: if is_done { Status::Done } else { unfinished },
            error: None,
            training: metrics.into_iter().map(|[_, samples, _, loss]| (samples, loss)).collect(),
            validations,
            summary,
            errors: kept(errors, &mut problems),
            picture: kept(picture, &mut problems),
            problems,
        };
        Ok(Some(run.with_diverged()))
    }

    /// The run, with a loss that is not a number among its problems.
    fn with_diverged(mut self) -> Run {
        if self.summary.is_some() && self.validation().is_none() {
            self.problems.push("the validation loss is NaN or infinite".to_owned());
        }
        self
    }

    /// A run of the sweep in a folder; nothing if it has not come to its settings.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn of_sweep(folder: &Path, entry: &RunEntry) -> Result<Option<Run>, ReportError> {
        let run = Run::read(&folder.join(&entry.name))?;
        Ok(run.map(|run| Run { status: entry.status, error: entry.error.clone(), ..run }))
    }

    /// Images seen.
    pub(super) fn samples(&self) -> u64 {
        self.training.last().map_or(0, |(samples, _)| *samples as u64)
    }

    /// The last validation whose losses are finite.
    pub(super) fn validation(&self) -> Option<ValidationRow> {
        let finite = |row: &ValidationRow| row.running.is_finite() && row.batch.is_finite();
        match &self.summary {
            Some(summary) => Some(ValidationRow::new(summary.samples, &summary.validation)).filter(finite),
            None => self.validations.iter().rev().copied().find(finite),
        }
    }
}

/// The rows of a table, if there is one.
fn rows<R: DeserializeOwned>(path: &Path) -> Result<Option<Vec<R>>, FileError> {
    path.exists().then(|| log::read(path)).transpose()
}

/// What was read of a file, if it could be; otherwise the reason is added to `problems`.
fn kept<T, E: Display>(read: Result<Option<T>, E>, problems: &mut Vec<String>) -> Option<T> {
    read.unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    })
}
