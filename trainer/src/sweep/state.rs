//! What the runs of a sweep are doing, as their folders tell it, and `sweep.json`, which names them.
//!
//! Several processes may work on a sweep. What each run is doing is therefore never remembered, but looked up: a folder
//! with a summary is done, one that is locked is running, and so on. `sweep.json` has the statuses as they were when
//! it was written, for other programs; it is written together with the report, by one process at a time.

use super::file::{PlannedRun, Sweep};
use crate::output::summary::Summary;
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::system::lock::{Held, Lock};
use crate::train::RunFolder;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
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
    /// A process computes it.
    Running,
    /// It was stopped by a signal, or its process was killed.
    Stopped,
    /// It failed.
    Failed,
    /// It is done, and has its results.
    Done,
}

impl RunEntry {
    /// The run in the folder `name` of the sweep's folder `out`, as it is now.
    fn look(out: &Path, name: &str) -> RunEntry {
        let folder = RunFolder::new(&out.join(name));
        let failure = folder.read_failure();
        let is_done = || Summary::read(&folder.summary()).is_ok() && Settings::read(&folder.settings()).is_ok();
        let status = match &failure {
            _ if is_done() => Status::Done,
            _ if folder.is_in_use() => Status::Running,
            Some(_) => Status::Failed,
            None if folder.settings().exists() => Status::Stopped,
            None => Status::Pending,
        };
        let error = failure.filter(|_| status == Status::Failed).map(|failure| failure.error);
        RunEntry { name: name.to_owned(), status, error }
    }
}

impl State {
    /// The runs of a sweep as they are now in the folder `out`, and after them what earlier commands left there.
    pub(super) fn of(sweep: &Sweep, out: &Path) -> State {
        // If it cannot be read, the folders of the runs have the same information.
        let before: Vec<RunEntry> =
            files::read_json(&State::path(out), MAX_BYTES).map_or_else(|_| Vec::new(), |state: State| state.runs);
        let mut names: Vec<&str> = sweep.runs.iter().map(|run| run.name.as_str()).collect();
        let earlier = before.iter().map(|entry| entry.name.as_str());
        names.extend(earlier.filter(|name| sweep.runs.iter().all(|run| run.name != *name) && out.join(name).is_dir()));
        State { title: sweep.title.clone(), runs: names.iter().map(|name| RunEntry::look(out, name)).collect() }
    }

    /// Writes it to the folder `out`, which must be locked.
    pub(super) fn write(&self, out: &Path) -> Result<(), FileError> {
        files::write_json(&State::path(out), serde_json::to_string_pretty(self))
    }

    /// The runs in the folder `out` of a sweep as they are now.
    ///
    /// # Errors
    /// [`FileError`] if there is no list of them, or it is damaged.
    pub(crate) fn read(out: &Path) -> Result<State, FileError> {
        let state: State = files::read_json(&State::path(out), MAX_BYTES)?;
        let runs = state.runs.iter().map(|entry| RunEntry::look(out, &entry.name)).collect();
        Ok(State { runs, ..state })
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

/// Who does what in the folder `out`, as a table: the runs, their states, how far they are, and the processes that
/// compute them.
pub fn status(sweep: &Sweep, out: &Path) -> String {
    let state = State::of(sweep, out);
    let width = state.runs.iter().map(|run| run.name.len()).max().unwrap_or(0).max(3);
    let mut text = format!("{}: {} runs in {}\n\n", state.title, state.runs.len(), out.display());
    let _ = writeln!(
        text,
        "{:<width$}  {:<11}  {:>5}  {:>8}  {:>9}  machine",
        "run", "state", "done", "process", "heartbeat"
    );
    let mut counts = [0; 5];
    for run in &state.runs {
        let folder = out.join(&run.name);
        let (name, place) = match run.status {
            Status::Pending => ("not begun", 0),
            Status::Running => ("running", 1),
            Status::Stopped => ("interrupted", 2),
            Status::Failed => ("failed", 3),
            Status::Done => ("done", 4),
        };
        counts[place] += 1;
        let percent = match (run.status, RunFolder::new(&folder).progress()) {
            (Status::Done, _) => "100 %".to_owned(),
            (_, Some((seen, all))) => format!("{:.0} %", 100.0 * seen as f64 / all as f64),
            (_, None) => String::new(),
        };
        let held = Lock::holder(&folder).filter(|_| run.status == Status::Running);
        let [process, heartbeat, machine] = held.map_or_else(<[String; 3]>::default, |held| who(&held));
        let line = format!("{:<width$}  {name:<11}  {percent:>5}  {process:>8}  {heartbeat:>9}  {machine}", run.name);
        text += line.trim_end();
        text.push('\n');
        if let Some(error) = &run.error {
            let _ = writeln!(text, "    {error}");
        }
    }
    let [pending, running, stopped, failed, done] = counts;
    let _ =
        write!(text, "\n{done} done, {running} running, {stopped} interrupted, {failed} failed, {pending} not begun");
    text
}

/// The process that has a lock, how long ago it was heard of, and its machine.
fn who(held: &Held) -> [String; 3] {
    let heartbeat = format!("{} s ago", held.age().as_secs());
    match &held.holder {
        Some(holder) => [holder.pid.to_string(), heartbeat, holder.host.clone()],
        None => [String::new(), heartbeat, String::new()],
    }
}
