//! Running a sweep.

use super::error::SweepError;
use super::estimates::Estimates;
use super::file::{PlannedRun, Sweep};
use super::state::{State, Status, is_done};
use crate::data::{self, FashionMnist};
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::system::machine;
use crate::system::progress::{self, SweepPosition};
use crate::system::stop;
use crate::system::terminal::print_status;
use crate::train::{self, RunContext, RunFolder, TrainError};
use std::path::Path;
use std::time::Duration;

/// Renews the report in a folder. A sweep calls it whenever a run has new results or has ended.
pub(super) type Report<'a> = &'a (dyn Fn(&Path) + Sync);

/// Runs those runs of a sweep that are not done, in the folder `out`.
///
/// # Errors
/// [`SweepError`]. Before anything is run, every run is planned and its folder is checked. After that, the error of a
/// run is recorded and the next one begins; [`SweepError::Failed`] reports it at the end.
pub fn sweep(sweep: &Sweep, out: &Path, report: Report<'_>) -> Result<(), SweepError> {
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
        report(out);
        return Ok(());
    }
    let data = data::load(&left[0].settings.search(), &print_status)?;
    let estimates = Estimates::measure(left.iter().copied())?;
    let seconds = |run: &PlannedRun| estimates.of(&run.settings).duration.as_secs_f64();
    let all: f64 = left.iter().map(|run| seconds(run)).sum();
    print_status(&format!("takes    {}", progress::about(Duration::from_secs_f64(all))));

    let mut failures: Vec<String> = Vec::new();
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
        match run_one(run, &data, position, &renew) {
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
        report(out);
    }
    match failures.first() {
        None => Ok(()),
        Some(first) => Err(SweepError::Failed { failed: failures.len(), runs: runs.len(), first: first.clone() }),
    }
}

fn run_one(
    run: &PlannedRun,
    data: &FashionMnist,
    position: SweepPosition,
    report: &(dyn Fn() + Sync),
) -> Result<(), TrainError> {
    machine::reset_peak_resident_bytes();
    let start = RunFolder::new(&run.settings.out()).resume(&print_status)?.into();
    let context = RunContext { on_validation: Some(report), sweep: Some(position), ..RunContext::default() };
    let summary = train::train_with(&run.settings, start, data, context)?;
    print_status(&summary.to_string());
    Ok(())
}

/// Refuses a folder that has a run with other settings.
fn check_folder(out: &Path, run: &PlannedRun) -> Result<(), SweepError> {
    let folder = RunFolder::new(&out.join(&run.name));
    if !folder.settings().exists() {
        return Ok(());
    }
    let had = Settings::read(&folder.settings())?;
    let other = |source| SweepError::OtherRun { path: folder.path().to_owned(), source: Box::new(source) };
    run.settings.check_resumes(&had).map_err(other)
}
