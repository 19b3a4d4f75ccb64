//! The progress of a run: a bar on a terminal, plain lines anywhere else.

use super::terminal::{Verbosity, print_status, tells};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// The state of a run after a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgressUpdate {
    /// Training images seen.
    pub samples: u64,
    /// Loss, smoothed, once there is one.
    pub loss: Option<f64>,
    /// Learning rate.
    pub lr: f64,
    /// Speed of the training steps.
    pub images_per_second: f64,
    /// Time left.
    pub remaining: Duration,
    /// Time that the whole run takes at this speed.
    pub whole_run: Duration,
}

/// The place of a run in a sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepPosition {
    /// Its number, from 1.
    pub run: usize,
    /// How many runs there are.
    pub runs: usize,
    /// Time of the runs that come after it, in multiples of the time of this one.
    pub later: f64,
}

/// Shows the progress of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    shown_at: Instant,
    shown_samples: u64,
    sweep: Option<SweepPosition>,
}

/// A plain line is printed at least this often, ...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ... and at least after this many images.
const LINE_EVERY_SAMPLES: u64 = 10_000;
/// The bar's text changes at most this often.
const BAR_EVERY: Duration = Duration::from_millis(100);

impl Progress {
    /// The progress of a run of `total` images that has seen `samples`. It is a bar if both standard output and
    /// standard error are terminals, and can draw one.
    pub(crate) fn new(samples: u64, total: u64, sweep: Option<SweepPosition>) -> Progress {
        let target = target();
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images  {msg}");
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_position(samples);
        // It is hidden if standard error is no terminal, or one that cannot move its cursor: TERM is `dumb` or not set.
        let bar = Some(bar).filter(|bar| !bar.is_hidden());
        Progress { bar, total, shown_at: Instant::now(), shown_samples: samples, sweep }
    }

    /// Shows the state after a step, if it is time.
    pub(crate) fn update(&mut self, update: &ProgressUpdate) {
        let ProgressUpdate { samples, loss, lr, images_per_second, remaining, .. } = *update;
        let since = self.shown_at.elapsed();
        let due = match &self.bar {
            Some(_) => since >= BAR_EVERY,
            None => since >= LINE_EVERY || samples - self.shown_samples >= LINE_EVERY_SAMPLES,
        };
        if !due && samples < self.total {
            return;
        }
        (self.shown_at, self.shown_samples) = (Instant::now(), samples);
        let left = match self.sweep {
            None => format!("{} left", clock(remaining)),
            Some(SweepPosition { run, runs, .. }) => {
                let all = clock(self.left_in_sweep(update).unwrap_or(Duration::MAX));
                format!("{} left  run {run} of {runs}, {all} left in all", clock(remaining))
            }
        };
        let loss = |digits: usize| loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.digits$}"));
        match &self.bar {
            Some(bar) => {
                bar.set_position(samples);
                bar.set_message(format!("loss {}  lr {lr:.2e}  {images_per_second:.0} images/s  {left}", loss(4)));
            }
            None => print_status(&format!(
                "{samples}/{} images  loss {}  lr {lr:.2e}  {images_per_second:.0} images/s  {left}",
                self.total,
                loss(5)
            )),
        }
    }

    /// The time that the run's sweep still takes, if it has one.
    pub(crate) fn left_in_sweep(&self, update: &ProgressUpdate) -> Option<Duration> {
        let all = update.remaining.as_secs_f64() + self.sweep?.later * update.whole_run.as_secs_f64();
        Some(Duration::try_from_secs_f64(all).unwrap_or(Duration::MAX))
    }

    /// Shows beside the bar what is done between steps.
    pub(crate) fn note(&self, what: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what);
        }
    }

    /// Writes a line above the bar, if the user wants to know everything.
    pub(crate) fn print_detail(&self, line: &str) {
        if tells(Verbosity::Verbose) {
            self.print_status(line);
        }
    }

    /// Writes a line above the bar.
    pub(crate) fn print_status(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print_status(line)),
            None => print_status(line),
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how many parts of a piece of work are done: a bar on a terminal, now and then a plain line anywhere else.
#[derive(Debug)]
pub(crate) struct Counter {
    bar: Option<ProgressBar>,
    what: String,
    parts: &'static str,
    done: usize,
    total: usize,
    shown_at: Instant,
}

impl Counter {
    /// None of `total` parts, which are called `parts`, of the work `what` are done.
    pub(crate) fn new(what: &str, parts: &'static str, total: usize) -> Counter {
        let target = target();
        let style = ProgressStyle::with_template("{msg}  {bar:30} {pos}/{len}  {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what.to_owned());
        let bar = Some(bar).filter(|bar| !bar.is_hidden());
        Counter { bar, what: what.to_owned(), parts, done: 0, total, shown_at: Instant::now() }
    }

    /// Another part is done.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.shown_at.elapsed() >= LINE_EVERY => {
                self.shown_at = Instant::now();
                print_status(&format!("{}: {}/{} {}", self.what, self.done, self.total, self.parts));
            }
            None => {}
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Where bars are drawn, if they are.
fn target() -> ProgressDrawTarget {
    match io::stdout().is_terminal() && tells(Verbosity::Normal) {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    }
}

/// A duration as `1:02:03` or `2:03`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A duration in words: `about 14 minutes`.
pub(crate) fn about(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        s if s < 10.0 => (s.ceil(), "second"),
        s if s < 90.0 => ((s / 5.0).round() * 5.0, "second"),
        s if s < 90.0 * 60.0 => ((s / 60.0).round(), "minute"),
        s => ((s / 1800.0).round() / 2.0, "hour"),
    };
    format!("about {value} {unit}{}", if value == 1.0 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_as_people_do() {
        for (seconds, want) in [
            (0.0, "about 0 seconds"),
            (0.2, "about 1 second"),
            (52.0, "about 50 seconds"),
            (95.0, "about 2 minutes"),
            (839.0, "about 14 minutes"),
            (5399.0, "about 90 minutes"),
            (9100.0, "about 2.5 hours"),
        ] {
            assert_eq!(about(Duration::from_secs_f64(seconds)), want);
        }
    }

    #[test]
    fn the_clock_carries() {
        for (seconds, want) in [(0.4, "0:00"), (59.6, "1:00"), (3599.9, "1:00:00"), (3723.0, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs_f64(seconds)), want);
        }
    }
}
