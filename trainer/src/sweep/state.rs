//! How the runs of a sweep stand: `sweep.json`.

use super::Sweep;
use crate::system::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 26;

/// A sweep's folder, as `sweep.json` has it. Runs of earlier commands stay in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The sweep's title.
    pub title: String,
    /// Its runs, in their order.
    pub runs: Vec<Entry>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The name of the run's folder.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has not begun.
    Pending,
    /// It goes on, or its process was killed.
    Running,
    /// It was stopped by a signal.
    Stopped,
    /// It failed.
    Failed,
    /// It has its results.
    Done,
}

impl State {
    /// Writes the state of a sweep that begins, or goes on, in the folder `out`.
    pub(super) fn begin(sweep: &Sweep, out: &Path) -> Result<State, FileError> {
        // One that cannot be read tells nothing that the runs' folders do not.
        let before = State::read(out).map_or_else(|_| Vec::new(), |state| state.runs);
        let mut runs: Vec<Entry> = Vec::new();
        for run in &sweep.runs {
            let status = if super::is_done(out, run) { Status::Done } else { Status::Pending };
            let known = before.iter().find(|entry| entry.name == run.name && status != Status::Done);
            runs.push(known.cloned().unwrap_or_else(|| Entry { name: run.name.clone(), status, error: None }));
        }
        let others = before.into_iter().filter(|entry| sweep.runs.iter().all(|run| run.name != entry.name));
        runs.extend(others.filter(|entry| out.join(&entry.name).is_dir()));
        let state = State { title: sweep.title.clone(), runs };
        state.write(out)?;
        Ok(state)
    }

    /// Changes how a run stands.
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
        let path = State::path(out);
        let json =
            serde_json::to_string_pretty(self).map_err(io::Error::from).map_err(FileError::at("write", &path))?;
        files::write_bytes(&path, format!("{json}\n").as_bytes())
    }

    /// Reads the state of the sweep in the folder `out`.
    ///
    /// # Errors
    /// [`FileError`] if there is none, or it is damaged.
    pub fn read(out: &Path) -> Result<State, FileError> {
        let path = State::path(out);
        let text = files::read_text(&path, MAX_BYTES)?;
        serde_json::from_str(&text).map_err(io::Error::from).map_err(FileError::at("use", &path))
    }

    /// `sweep.json`.
    pub fn path(out: &Path) -> PathBuf {
        out.join("sweep.json")
    }

    /// `reference.csv`: the published results, as they were when the sweep was run.
    pub fn reference(out: &Path) -> PathBuf {
        out.join("reference.csv")
    }
}
