//! The status of the runs of a sweep: `sweep.json`.

use super::file::{PlannedRun, Sweep};
use crate::output::summary::Summary;
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::train::RunFolder;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 26;

/// A sweep's folder, as `sweep.json` has it. Runs of earlier commands stay in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The sweep's title.
    pub title: String,
    /// Its runs, in their order.
    pub runs: Vec<RunEntry>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunEntry {
    /// The name of the run's folder.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It has not begun.
    Pending,
    /// It is running, or its process was killed.
    Running,
    /// It was stopped by a signal.
    Stopped,
    /// It failed.
    Failed,
    /// It is done, and has its results.
    Done,
}

impl State {
    /// Writes the state of a sweep that begins or goes on in the folder `out`.
    pub(super) fn begin(sweep: &Sweep, out: &Path) -> Result<State, FileError> {
        // If it cannot be read, the folders of the runs have the same information.
        let before = State::read(out).map_or_else(|_| Vec::new(), |state| state.runs);
        let mut runs: Vec<RunEntry> = Vec::new();
        for run in &sweep.runs {
            let status = if is_done(out, run) { Status::Done } else { Status::Pending };
            let known = before.iter().find(|entry| entry.name == run.name && status != Status::Done);
            runs.push(known.cloned().unwrap_or_else(|| RunEntry { name: run.name.clone(), status, error: None }));
        }
        let others = before.into_iter().filter(|entry| sweep.runs.iter().all(|run| run.name != entry.name));
        runs.extend(others.filter(|entry| out.join(&entry.name).is_dir()));
        let state = State { title: sweep.title.clone(), runs };
        state.write(out)?;
        Ok(state)
    }

    /// Sets the status of a run.
    pub(super) fn set(
        &mut self,
        out: &Path,
        name: &str,
        status: Status,
        error: Option<String>,
    ) -> Result<(), FileError> {
        for entry in self.runs.iter_mut().filter(|entry| entry.name == name) {
            (entry.status, entry.error) = (status, error.clone());
        }
        self.write(out)
    }

    fn write(&self, out: &Path) -> Result<(), FileError> {
        files::write_json(&State::path(out), serde_json::to_string_pretty(self))
    }

    /// Reads the state of the sweep in the folder `out`.
    ///
    /// # Errors
    /// [`FileError`] if it does not exist or is damaged.
    pub(crate) fn read(out: &Path) -> Result<State, FileError> {
        files::read_json(&State::path(out), MAX_BYTES)
    }

    /// `sweep.json`.
    pub(crate) fn path(out: &Path) -> PathBuf {
        out.join("sweep.json")
    }

    /// `reference.csv`: the published results, as they were when the sweep was run.
    pub(crate) fn published(out: &Path) -> PathBuf {
        out.join("reference.csv")
    }
}

/// Whether the run's folder has its settings and its summary, which is written last, and they are whole.
pub(super) fn is_done(out: &Path, run: &PlannedRun) -> bool {
    let folder = RunFolder::new(&out.join(&run.name));
    let same = |settings: Settings| run.settings.check_resumes(&settings).is_ok();
    Summary::read(&folder.summary()).is_ok() && Settings::read(&folder.settings()).is_ok_and(same)
}
