//! What the folder of a run holds.

use super::ReportError;
use super::names::name_of;
use crate::output::summary::Summary;
use crate::settings::Settings;
use crate::sweep::{RunEntry, Status};
use crate::system::files::{self, FileError};
use crate::system::progress::about;
use crate::train::{Live, RunFolder, ValidationRow, log};
use crate::validation::Errors;
use indicatif::HumanCount;
use model::ResConv;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest picture that is read, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// The share of the machine that other programs may use without a mark at a run's times.
const SHARED: f64 = 0.1;

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
    /// What it tells while it goes on.
    pub(super) live: Option<Live>,
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
        let parameters = ResConv::new(settings.network.clone()).map_or(0, |network| network.parameter_count());
        let live = folder.live().exists().then(|| Live::read(&folder.live())).transpose();
        let live = kept(live, &mut problems);
        let error = folder.read_failure().map(|failure| failure.error).filter(|_| !is_done);
        let status = match (is_done, folder.is_in_use(), &error) {
            (true, ..) => Status::Done,
            (false, true, _) => Status::Running,
            (false, false, Some(_)) => Status::Failed,
            (false, false, None) => Status::Stopped,
        };
        let run = Run {
            name: name_of(path),
            folder: path.to_owned(),
            settings,
            parameters,
            error: error.filter(|_| status == Status::Failed),
            status,
            live,
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
        Ok(run.map(|run| {
            // The process may have been killed before it could write anything else.
            let was_killed = entry.status == Status::Running && run.status != Status::Running;
            let status = if was_killed { run.status } else { entry.status };
            Run { status, error: entry.error.clone().or(run.error), ..run }
        }))
    }

    /// Its state in a word.
    pub(super) fn word(&self) -> &'static str {
        match self.status {
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Running => "running",
            Status::Stopped => "interrupted",
            Status::Pending => "not begun",
        }
    }

    /// Its state, how far it is and how long it still takes, unless it is done: `running: 9 % (900 of 10,000 images),
    /// about 2 minutes left`.
    pub(super) fn state(&self) -> Option<String> {
        let (seen, all, word) = (self.samples(), self.settings.training.samples, self.word());
        let percent = 100.0 * seen as f64 / all.max(1) as f64;
        let far = format!("{percent:.0} % ({} of {} images)", HumanCount(seen), HumanCount(all));
        match self.status {
            Status::Done => None,
            Status::Pending => Some(word.to_owned()),
            Status::Running => {
                let left = self.live.as_ref().and_then(Live::time_left);
                Some(format!(
                    "{word}: {far}{}",
                    left.map_or_else(String::new, |left| format!(", {} left", about(left)))
                ))
            }
            Status::Stopped | Status::Failed => Some(format!("{word} at {far}")),
        }
    }

    /// The time that its sweep still takes, as it tells while it goes on.
    pub(super) fn time_left_in_all(&self) -> Option<Duration> {
        self.live.as_ref().filter(|_| self.status == Status::Running).and_then(Live::time_left_in_all)
    }

    /// The share of the machine that other programs used meanwhile, if it was so much that its times say little.
    pub(super) fn shared(&self) -> Option<f64> {
        self.summary.as_ref()?.others_share.filter(|share| *share > SHARED)
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
