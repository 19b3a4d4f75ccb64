//! Running a sweep, and what that costs.

use super::error::SweepError;
use super::file::{PlannedRun, Sweep};
use super::state::{State, Status, is_done};
use crate::data::{self, Data, DataError, DataRequest};
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::system::machine;
use crate::system::progress::{self, SweepPosition};
use crate::system::stop;
use crate::system::terminal::print_status;
use crate::train::{self, Estimate, RunContext, RunFolder, TrainError};
use engine::mib;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Renews the report in a folder, and returns whether it could. A sweep calls it whenever a run has new results or has
/// ended.
pub(super) type RenewReport<'a> = &'a (dyn Fn(&Path) -> bool + Sync);

/// Runs those runs of a sweep that are not done, in the folder `out`. Returns whether its report could be renewed at
/// the end.
///
/// # Errors
/// [`SweepError`]. Before anything is run, every run is planned and its folder is checked. After that, the error of a
/// run is recorded and the next one begins; [`SweepError::Failed`] reports it at the end.
pub fn sweep(sweep: &Sweep, out: &Path, report: RenewReport<'_>) -> Result<bool, SweepError> {
    let runs: Vec<PlannedRun> = sweep.runs.iter().map(|run| run.placed(out)).collect();
    for run in &runs {
        check_folder(out, run)?;
    }
    stop::catch_signals().map_err(|error| FileError::at("prepare for signals in", out)(error))?;
    files::create_folder(out)?;
    let _lock = RunFolder::new(out).lock()?;
    files::remove_leftovers(out)?;
    let mut state = State::begin(sweep, out)?;
    if let Some(published) = &sweep.published {
        files::write_bytes(&State::published(out), published.as_bytes())?;
    }
    let left: Vec<&PlannedRun> = runs.iter().filter(|run| !is_done(out, run)).collect();
    let done = runs.len() - left.len();
    print_status(&format!("sweep    {}: {} runs in {}, {done} done", sweep.title, runs.len(), out.display()));
    if left.is_empty() {
        return Ok(report(out));
    }
    let mut data = OpenData::new(&left[0].settings)?;
    let estimates = Estimates::measure(left.iter().copied())?;
    let seconds = |run: &PlannedRun| estimates.of(&run.settings).duration.as_secs_f64();
    let all: f64 = left.iter().map(|run| seconds(run)).sum();
    print_status(&format!("takes    {}", progress::about(Duration::from_secs_f64(all))));

    let mut failures: Vec<String> = Vec::new();
    let mut renewed = false;
    for (i, run) in left.iter().enumerate() {
        let number = done + i + 1;
        print_status(&format!("\nrun {number} of {}: {}", runs.len(), run.name));
        state.set(out, &run.name, Status::Running, None)?;
        let later: f64 = left[i + 1..].iter().map(|run| seconds(run)).sum();
        let position = SweepPosition { run: number, runs: runs.len(), later: later / seconds(run).max(1e-9) };
        let folder = out.join(&run.name);
        let renew = || {
            report(&folder);
            report(out);
        };
        match data.of(&run.settings).and_then(|data| run_one(run, data, position, &renew)) {
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
                print_status(&format!("failed: {error}"));
                failures.push(format!("{}: {error}", run.name));
                state.set(out, &run.name, Status::Failed, Some(error.to_string()))?;
            }
        }
        renewed = report(out);
    }
    match failures.first() {
        None => Ok(renewed),
        Some(first) => Err(SweepError::Failed { failed: failures.len(), runs: runs.len(), first: first.clone() }),
    }
}

/// The images of the run that is next. Most runs have those of the run before.
struct OpenData {
    request: DataRequest,
    data: Data,
}

impl OpenData {
    fn new(settings: &Settings) -> Result<OpenData, DataError> {
        let request = settings.data_request();
        Ok(OpenData { data: data::open(&request, &print_status)?, request })
    }

    fn of(&mut self, settings: &Settings) -> Result<&Data, TrainError> {
        if self.request != settings.data_request() {
            *self = OpenData::new(settings)?;
        }
        Ok(&self.data)
    }
}

fn run_one(
    run: &PlannedRun,
    data: &Data,
    position: SweepPosition,
    report: &(dyn Fn() + Sync),
) -> Result<(), TrainError> {
    machine::reset_peak_resident_bytes();
    let start = RunFolder::new(&run.settings.out()).resume(&print_status)?.into();
    let context = RunContext { on_results: Some(report), sweep: Some(position), ..RunContext::default() };
    let summary = train::train_with(&run.settings, start, data, context)?;
    print_status(&summary.to_string());
    Ok(())
}

/// Refuses a folder that has a run with other settings. If its settings cannot be read, those of its checkpoint are
/// compared when the run goes on.
fn check_folder(out: &Path, run: &PlannedRun) -> Result<(), SweepError> {
    let folder = RunFolder::new(&out.join(&run.name));
    let Ok(had) = Settings::read(&folder.settings()) else { return Ok(()) };
    let other = |source| SweepError::OtherRun { path: folder.path().to_owned(), source: Box::new(source) };
    run.settings.check_resumes(&had).map_err(other)
}

/// The runs of a sweep and their costs, as a table.
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
        let time = if done { "done".to_owned() } else { progress::about(duration) };
        let _ = writeln!(text, "{:<width$}  {parameters:>11}  {:>5.0} MiB  {time:>17}", run.name, mib(planned_bytes));
    }
    let _ = write!(text, "\nin all {}", progress::about(total));
    if left < total {
        let _ = write!(text, ", of which {} are left", progress::about(left));
    }
    text.push_str(", by a few steps of each network on this machine as it is now");
    Ok(text)
}

/// The costs of runs. Runs that differ only in their seeds cost the same.
struct Estimates(HashMap<String, Estimate>);

impl Estimates {
    /// Measures each network once.
    fn measure<'a>(runs: impl IntoIterator<Item = &'a PlannedRun>) -> Result<Estimates, SweepError> {
        let mut estimates = HashMap::new();
        for run in runs {
            let key = Estimates::key(&run.settings);
            if let Entry::Vacant(place) = estimates.entry(key) {
                let plan = |source| SweepError::Plan { run: run.name.clone(), source: Box::new(source) };
                place.insert(train::estimate(&run.settings).map_err(plan)?);
            }
        }
        Ok(Estimates(estimates))
    }

    /// The cost of a run with these settings, which must be one of those that were measured.
    fn of(&self, settings: &Settings) -> &Estimate {
        &self.0[&Estimates::key(settings)]
    }

    fn key(settings: &Settings) -> String {
        let mut settings = settings.clone();
        (settings.training.seed, settings.run.out) = (0, None);
        format!("{settings:?}")
    }
}
