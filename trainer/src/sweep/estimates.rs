//! The costs of a sweep.

use super::error::SweepError;
use super::file::{PlannedRun, Sweep};
use super::state::is_done;
use crate::settings::Settings;
use crate::system::machine::mib;
use crate::system::progress;
use crate::train::{self, Estimate};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

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
pub(super) struct Estimates(HashMap<String, Estimate>);

impl Estimates {
    /// Measures each network once.
    pub(super) fn measure<'a>(runs: impl IntoIterator<Item = &'a PlannedRun>) -> Result<Estimates, SweepError> {
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
    pub(super) fn of(&self, settings: &Settings) -> &Estimate {
        &self.0[&Estimates::key(settings)]
    }

    fn key(settings: &Settings) -> String {
        let mut settings = settings.clone();
        (settings.training.seed, settings.run.out) = (0, None);
        format!("{settings:?}")
    }
}
