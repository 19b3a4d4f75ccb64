//! Sweeps: many runs of settings that differ, by one command that can be repeated until all are done.
//!
//! A sweep file is a matrix of settings over a base, all by their names in `resconv train`:
//!
//! ```toml
//! title = "Depth and learning rate"
//! reference = "published.csv"       # see `reference`; the path is relative to this file
//! seeds = [0, 1, 2]                 # every setting is run with each of them
//! [base]
//! samples = 60000
//! [matrix]
//! layers = [1, 3, 5]
//! lr = [1e-3, 3e-4]
//! ```
//!
//! Every run has its folder in the sweep's, named after its values. The sweep's own files are `sweep.json`, which tells how each run
//! stands, and the report.

mod file;
mod flags;
mod state;

pub use file::{Planned, Sweep};
pub use flags::ListFlags;
pub use state::{Entry as RunEntry, State, Status};

use crate::data::{self, DataError, FashionMnist};
use crate::output::summary;
use crate::published::ReferenceError;
use crate::settings::{Settings, SettingsError};
use crate::system::files::{self, FileError};
use crate::system::progress::{self, Whole};
use crate::system::stop;
use crate::train::{self, Estimate, Folder, FolderError, Found, Start, Stopped, TrainError, Watch};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a sweep cannot be, or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sweep file is not of the right form.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A flag's value cannot be.
    #[error("{0}")]
    Flag(String),
    /// The settings of a run cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The published results cannot be read.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The folder has a run of the same name and other settings.
    #[error("{}: {source}", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// What differs.
        source: Box<SettingsError>,
    },
    /// The sweep's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A run cannot be planned.
    #[error("{run}: {source}")]
    Plan {
        /// The run's name.
        run: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// A signal asked to stop.
    #[error("stopped by {} in {}; repeat the command to go on", stopped.signal, stopped.out.display())]
    Stopped {
        /// The run that was interrupted.
        stopped: Stopped,
    },
    /// Some runs failed.
    #[error("{failed} of {runs} runs failed, the first: {first}; repeat the command to try them again")]
    Failed {
        /// How many.
        failed: usize,
        /// How many runs there are.
        runs: usize,
        /// The first one's name and error.
        first: String,
    },
}

/// What a sweep does with a run that has come on, or ended: renews the report.
pub type Report<'a> = &'a (dyn Fn(&Path) + Sync);

/// The runs of a sweep with what they cost, as a table.
///
/// # Errors
/// [`SweepError::Plan`] if one cannot be planned.
pub fn dry_run(sweep: &Sweep, out: &Path) -> Result<String, SweepError> {
    let estimates = Estimates::measure(&sweep.runs)?;
    let width = sweep.runs.iter().map(|run| run.name.len()).max().unwrap_or(0).max(3);
    let mut text = format!("{}: {} runs in {}\n\n", sweep.title, sweep.runs.len(), out.display());
    let mut total = Duration::ZERO;
    let mut left = Duration::ZERO;
    let _ = writeln!(text, "{:<width$}  {:>11}  {:>9}  {:>17}", "run", "parameters", "memory", "time");
    for run in &sweep.runs {
        let Estimate { parameters, planned_bytes, duration } = *estimates.of(&run.settings);
        let done = is_done(out, run);
        total = total.saturating_add(duration);
        left = left.saturating_add(if done { Duration::ZERO } else { duration });
        let mib = planned_bytes as f64 / (1 << 20) as f64;
        let time = if done { "done".to_owned() } else { progress::about(duration) };
        let _ = writeln!(text, "{:<width$}  {parameters:>11}  {mib:>5.0} MiB  {time:>17}", run.name);
    }
    let _ = write!(text, "\nin all {}", progress::about(total));
    if left < total {
        let _ = write!(text, ", of which {} are left", progress::about(left));
    }
    text.push_str(", by a few steps of each network on this machine as it is now");
    Ok(text)
}

/// Runs what is not yet done of a sweep, in `out`. `report` is called when a run has come on or ended.
///
/// # Errors
/// [`SweepError`]. Before anything is run, every run is planned and its folder looked at. After that, the error of a run is recorded
/// and the next one begins; [`SweepError::Failed`] tells of it at the end.
pub fn sweep(sweep: &Sweep, out: &Path, report: Report<'_>) -> Result<(), SweepError> {
    let runs: Vec<Planned> = sweep.runs.iter().map(|run| run.placed(out)).collect();
    for run in &runs {
        check_folder(out, run)?;
    }
    stop::catch_signals().map_err(|error| FileError::at("prepare for signals in", out)(error))?;
    files::create_folder(out)?;
    let _lock = Folder::new(out).lock()?;
    files::remove_leftovers(out)?;
    let mut state = State::begin(sweep, out)?;
    if let Some(reference) = &sweep.reference {
        files::write_bytes(&State::reference(out), reference.as_bytes())?;
    }
    let left: Vec<&Planned> = runs.iter().filter(|run| !is_done(out, run)).collect();
    let done = runs.len() - left.len();
    progress::say(&format!("sweep    {}: {} runs in {}, {done} done", sweep.title, runs.len(), out.display()));
    if left.is_empty() {
        report(out);
        return Ok(());
    }
    let data = data::load(&left[0].settings.search(), &|line| progress::say(line))?;
    let estimates = Estimates::measure(&left)?;
    let seconds = |run: &Planned| estimates.of(&run.settings).duration.as_secs_f64();
    let all: f64 = left.iter().map(|run| seconds(run)).sum();
    progress::say(&format!("takes    {}", progress::about(Duration::from_secs_f64(all))));

    let mut failures: Vec<String> = Vec::new();
    for (i, run) in left.iter().enumerate() {
        let number = done + i + 1;
        progress::say(&format!("\nrun {number} of {}: {}", runs.len(), run.name));
        state.set(out, &run.name, Status::Running, None)?;
        let after: f64 = left[i + 1..].iter().map(|run| seconds(run)).sum();
        let whole = Whole { run: number, runs: runs.len(), after: after / seconds(run).max(1e-9) };
        let folder = out.join(&run.name);
        let renew = || {
            report(&folder);
            report(out);
        };
        match run_one(run, &data, whole, &renew) {
            Ok(()) => {
                state.set(out, &run.name, Status::Done, None)?;
                report(&folder);
            }
            Err(TrainError::Stopped(stopped)) => {
                state.set(out, &run.name, Status::Stopped, None)?;
                report(out);
                return Err(SweepError::Stopped { stopped });
            }
            Err(error) => {
                progress::say(&format!("failed: {error}"));
                failures.push(format!("{}: {error}", run.name));
                state.set(out, &run.name, Status::Failed, Some(error.to_string()))?;
            }
        }
        report(out);
    }
    match failures.first() {
        None => Ok(()),
        Some(first) => Err(SweepError::Failed { failed: failures.len(), runs: runs.len(), first: first.clone() }),
    }
}

fn run_one(run: &Planned, data: &FashionMnist, whole: Whole, report: &(dyn Fn() + Sync)) -> Result<(), TrainError> {
    summary::reset_peak_resident_bytes();
    let start = match Folder::new(&run.settings.out()).resume(&|line| progress::say(line))? {
        Found::Run(resumed) => Start::Resume(resumed),
        Found::Begun(_) => Start::Overwrite,
        Found::Nothing => Start::New,
    };
    let watch = Watch { validated: Some(report), whole: Some(whole), ..Watch::default() };
    let summary = train::train_with(&run.settings, start, data, watch)?;
    progress::say(&summary.to_string());
    Ok(())
}

/// Whether the run's folder has its summary, which is written last.
fn is_done(out: &Path, run: &Planned) -> bool {
    let folder = Folder::new(&out.join(&run.name));
    let same = |settings: Settings| run.settings.check_resumes(&settings).is_ok();
    folder.summary().exists() && Settings::read(&folder.settings()).is_ok_and(same)
}

/// Refuses a folder that has a run of other settings.
fn check_folder(out: &Path, run: &Planned) -> Result<(), SweepError> {
    let folder = Folder::new(&out.join(&run.name));
    if !folder.settings().exists() {
        return Ok(());
    }
    let had = Settings::read(&folder.settings())?;
    let other = |source| SweepError::OtherRun { path: folder.path().to_owned(), source: Box::new(source) };
    run.settings.check_resumes(&had).map_err(other)
}

/// What runs cost. Those that differ in their seeds alone cost the same.
struct Estimates(HashMap<String, Estimate>);

impl Estimates {
    fn measure<'a>(runs: impl IntoIterator<Item = &'a (impl AsRef<Planned> + 'a)>) -> Result<Estimates, SweepError> {
        let mut estimates = HashMap::new();
        for run in runs {
            let run: &Planned = run.as_ref();
            let key = Estimates::key(&run.settings);
            if let Entry::Vacant(place) = estimates.entry(key) {
                let plan = |source| SweepError::Plan { run: run.name.clone(), source: Box::new(source) };
                place.insert(train::estimate(&run.settings).map_err(plan)?);
            }
        }
        Ok(Estimates(estimates))
    }

    fn of(&self, settings: &Settings) -> &Estimate {
        &self.0[&Estimates::key(settings)]
    }

    fn key(settings: &Settings) -> String {
        let mut settings = settings.clone();
        (settings.training.seed, settings.run.out) = (0, None);
        format!("{settings:?}")
    }
}
