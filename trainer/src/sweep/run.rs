//! Running a sweep, and what that costs.

use super::error::SweepError;
use super::file::{PlannedRun, Sweep};
use super::queue::{Next, Queue};
use super::shard::Shard;
use super::state::{State, is_done};
use crate::data::{self, Data, DataError, DataRequest};
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use crate::system::lock::{self, Lock};
use crate::system::machine;
use crate::system::progress::{self, SweepPosition};
use crate::system::stop;
use crate::system::terminal::{Verbosity, print_error, print_status, tells};
use crate::train::{self, Estimate, FolderError, RunContext, RunFolder, Start, Stopped, TrainError};
use engine::mib;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Renews the report in a folder, and returns whether it could. A sweep calls it whenever a run has new results or has
/// ended.
pub(super) type RenewReport<'a> = &'a (dyn Fn(&Path) -> bool + Sync);

/// How often a process looks whether a run of another one has ended.
const LOOK: Duration = Duration::from_millis(500);

/// Runs those runs of a part of a sweep that are not done and that no other process has, in the folder `out`, and then
/// waits for the others: if a process that has one dies, this one goes on with its run. Returns whether its report
/// could be renewed at the end.
///
/// # Errors
/// [`SweepError`]. Before anything is run, every run is planned and its folder is checked. After that, the error of a
/// run is recorded and the next one begins; [`SweepError::Failed`] reports it at the end.
pub fn sweep(sweep: &Sweep, out: &Path, shard: Shard, report: RenewReport<'_>) -> Result<bool, SweepError> {
    let runs: Vec<PlannedRun> = sweep.runs.iter().map(|run| run.placed(out)).collect();
    for run in &runs {
        check_folder(out, run)?;
    }
    stop::catch_signals().map_err(|error| FileError::at("prepare for signals in", out)(error))?;
    files::create_folder(out)?;
    let shared = SharedFiles { sweep, out, report };
    shared.begin()?;
    let (all, part) = (runs.len(), shard.count_of(runs.len()));
    let mut queue = Queue::new(out, shard.of(&runs));
    let done = part - queue.runs().len();
    let of = if shard.is_whole() { String::new() } else { format!(", of which part {shard} has {part}") };
    print_status(&format!("sweep    {}: {all} runs in {}{of}, {done} done", sweep.title, out.display()));
    let Some(first) = queue.runs().next() else { return shared.renew_at_last() };
    let mut data = OpenData::new(&first.settings)?;
    let estimates = Estimates::measure(queue.runs())?;
    let seconds = |run: &PlannedRun| estimates.of(&run.settings).duration.as_secs_f64();
    let left: f64 = queue.runs().map(seconds).sum();
    print_status(&format!("takes    {}, if no other process helps", progress::about(Duration::from_secs_f64(left))));

    let mut waits = false;
    loop {
        let (number, run, lock) = match queue.next() {
            Next::Run { number, run, lock } => (number, run, lock),
            Next::End => break,
            Next::Wait(others) => {
                if !waits {
                    print_status(&format!("\nwaiting for {others} runs that other processes have"));
                }
                waits = true;
                if let Some(signal) = stop::requested() {
                    let stopped = Stopped { signal, step: 0, samples: 0, out: out.to_owned() };
                    return Err(SweepError::Stopped { stopped });
                }
                std::thread::sleep(LOOK);
                continue;
            }
        };
        waits = false;
        print_status(&format!("\nrun {} of {all}: {}", number + 1, run.name));
        shared.renew_state()?;
        let later: f64 = queue.runs().map(seconds).sum();
        let position = SweepPosition { run: number + 1, runs: all, later: later / seconds(run).max(1e-9) };
        let folder = RunFolder::new(&out.join(&run.name));
        let renew = || {
            report(folder.path());
            shared.renew();
        };
        match data.of(&run.settings).and_then(|data| run_one(run, lock.clone(), data, position, &renew)) {
            Ok(()) => {
                report(folder.path());
            }
            Err(TrainError::Stopped(stopped)) => {
                drop(lock);
                shared.renew_at_last()?;
                return Err(SweepError::Stopped { stopped });
            }
            Err(error) => {
                print_failure(&format!("failed: {error}"), &run.name);
                queue.failures.push((run.name.clone(), error.to_string()));
                // Also if it had not begun; and before another process can try it, too.
                folder.write_failure(&error.to_string())?;
            }
        }
        drop(lock);
        shared.renew();
    }
    let renewed = shared.renew_at_last()?;
    match queue.failures.first() {
        None => Ok(renewed),
        Some((name, error)) => {
            let (failed, first) = (queue.failures.len(), format!("{name}: {error}"));
            Err(SweepError::Failed { failed, runs: part, first })
        }
    }
}

/// The files that the runs of a sweep share. One process at a time writes them, from what the folders of all runs have
/// at that time: so the last one that does is right.
struct SharedFiles<'a> {
    sweep: &'a Sweep,
    out: &'a Path,
    report: RenewReport<'a>,
}

impl SharedFiles<'_> {
    /// How long a process waits for the others that write: longer than any of them that is killed has the lock.
    const LONGEST: Duration = lock::PATIENCE.saturating_mul(2);

    /// Locks the sweep's folder, and waits for it if need be.
    fn lock(&self) -> Result<Lock, SweepError> {
        let begun = Instant::now();
        loop {
            match RunFolder::new(self.out).lock() {
                Err(FolderError::InUse { .. }) if begun.elapsed() < SharedFiles::LONGEST => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                locked => return Ok(locked?),
            }
        }
    }

    fn begin(&self) -> Result<(), SweepError> {
        let _lock = self.lock()?;
        files::remove_leftovers(self.out)?;
        State::of(self.sweep, self.out).write(self.out)?;
        if let Some(published) = &self.sweep.published {
            files::write_bytes(&State::published(self.out), published.as_bytes())?;
        }
        Ok(())
    }

    /// Writes the list of the runs.
    fn renew_state(&self) -> Result<(), SweepError> {
        let _lock = self.lock()?;
        Ok(State::of(self.sweep, self.out).write(self.out)?)
    }

    /// Writes the list and the report, unless another process does: that of the last process counts.
    fn renew(&self) {
        if let Ok(Ok(_lock)) = Lock::take(self.out)
            && State::of(self.sweep, self.out).write(self.out).is_ok()
        {
            (self.report)(self.out);
        }
    }

    /// Writes the list and the report. Returns whether the report could be renewed.
    fn renew_at_last(&self) -> Result<bool, SweepError> {
        let _lock = self.lock()?;
        State::of(self.sweep, self.out).write(self.out)?;
        Ok((self.report)(self.out))
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

/// Says that a run failed, also to users who want no other lines.
fn print_failure(line: &str, run: &str) {
    if tells(Verbosity::Normal) {
        print_status(line);
    } else {
        print_error(&format!("{run} {line}"));
    }
}

fn run_one(
    run: &PlannedRun,
    lock: Lock,
    data: &Data,
    position: SweepPosition,
    report: &(dyn Fn() + Sync),
) -> Result<(), TrainError> {
    machine::reset_peak_resident_bytes();
    let folder = RunFolder::new(&run.settings.out());
    if let Ok(had) = Settings::read(&folder.settings()) {
        run.settings.check_resumes(&had)?;
    }
    let start: Start = folder.resume_locked(lock, &print_status)?.into();
    if let Start::Resume(resumed) = &start {
        run.settings.check_resumes(resumed.checkpoint.resumable()?.0)?;
    }
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

/// The runs of a sweep and their costs, as a table, and why the sweep cannot be run in the folder `out`, if it cannot:
/// the folder has runs of the same names and other settings.
///
/// # Errors
/// [`SweepError::Plan`] if a run cannot be planned.
pub fn dry_run(sweep: &Sweep, out: &Path) -> Result<(String, Option<SweepError>), SweepError> {
    let estimates = Estimates::measure(&sweep.runs)?;
    let width = sweep.runs.iter().map(|run| run.name.len()).max().unwrap_or(0).max(3);
    let mut text = format!("{}: {} runs in {}\n\n", sweep.title, sweep.runs.len(), out.display());
    let mut total = Duration::ZERO;
    let mut left = Duration::ZERO;
    let mut others: Vec<SweepError> = Vec::new();
    let _ = writeln!(text, "{:<width$}  {:>11}  {:>9}  {:>17}", "run", "parameters", "memory", "time");
    for run in &sweep.runs {
        let Estimate { parameters, planned_bytes, duration } = *estimates.of(&run.settings);
        let done = is_done(out, run);
        total = total.saturating_add(duration);
        left = left.saturating_add(if done { Duration::ZERO } else { duration });
        let time = match check_folder(out, run) {
            Ok(()) if done => "done".to_owned(),
            Ok(()) => progress::about(duration),
            Err(other) => {
                others.push(other);
                "other settings".to_owned()
            }
        };
        let _ = writeln!(text, "{:<width$}  {parameters:>11}  {:>5.0} MiB  {time:>17}", run.name, mib(planned_bytes));
    }
    let _ = write!(text, "\nin all {}", progress::about(total));
    if left < total {
        let _ = write!(text, ", of which {} are left", progress::about(left));
    }
    text.push_str(", by a few steps of each network on this machine as it is now");
    let runs = others.len();
    let refused = others.into_iter().next().map(|first| SweepError::OtherRuns { runs, first: Box::new(first) });
    Ok((text, refused))
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
