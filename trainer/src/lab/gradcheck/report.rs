//! The results of the checks.

use super::{Check, Report, Row, Tolerance, pass_name};
use crate::output::table::Table;
use std::fmt;

/// One line per pass of an operation and path.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The lines, in the order of the checks.
    pub lines: Vec<Line>,
    /// Number of elements with kinks that were compared with differences.
    pub kinks: usize,
    /// Time of all checks.
    pub seconds: f64,
}

/// The result of a pass of an operation on a path, over all cases.
#[derive(Clone, Debug)]
pub struct Line {
    /// The operation: `conv2d`.
    pub op: String,
    /// What is compared: `forward`, `grad_weight`.
    pub pass: String,
    /// What computed it: `conv2d-direct-avx2`.
    pub path: String,
    /// `differences`, `reference` or `adjoint`.
    pub against: &'static str,
    /// Cases in which the operation is used once.
    pub cases: usize,
    /// Cases with a fan-out of two.
    pub fan_outs: usize,
    /// The error that is largest in proportion to its tolerance, as [`Tolerance`] measures it.
    pub worst_error: f64,
    /// The tolerance of the worst case.
    pub tolerance: Tolerance,
    /// The worst case.
    pub worst_case: String,
    /// The seed of its values, and of its shape if that is random.
    pub seed: u64,
    /// Number of cases whose error exceeds their tolerance.
    pub failures: usize,
    /// The command that checks the worst case again.
    pub repeat: String,
}

impl Line {
    /// Whether every case is within its tolerance.
    pub fn passed(&self) -> bool {
        self.failures == 0
    }

    fn badness(&self) -> (bool, f64) {
        (!self.passed(), ratio(self.worst_error, self.tolerance))
    }
}

impl Summary {
    /// Whether every line passed.
    pub fn passed(&self) -> bool {
        self.lines.iter().all(Line::passed)
    }

    /// The lines that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !line.passed())
    }

    /// Adds the results of a check: the worst row of each pass.
    pub(super) fn record(&mut self, check: &Check<'_>, report: &Report) {
        let mut passes: Vec<(String, &Row)> = Vec::new();
        for row in &report.rows {
            let pass = pass_name(row);
            match passes.iter_mut().find(|(known, _)| *known == pass) {
                Some((_, worst)) if check.badness(row) > check.badness(worst) => *worst = row,
                Some(_) => {}
                None => passes.push((pass, row)),
            }
        }
        for (pass, row) in passes {
            self.record_pass(check, pass, row);
        }
        self.kinks += report.rows.iter().map(|row| row.kinks).sum::<usize>();
    }

    fn record_pass(&mut self, check: &Check<'_>, pass: String, row: &Row) {
        let new = check.line(pass, row);
        let same = |line: &&mut Line| {
            line.op == new.op && line.pass == new.pass && line.path == new.path && line.against == new.against
        };
        let Some(line) = self.lines.iter_mut().find(same) else {
            self.lines.push(new);
            return;
        };
        let cases = line.cases + new.cases;
        let fan_outs = line.fan_outs + new.fan_outs;
        let failures = line.failures + new.failures;
        if new.badness() > line.badness() {
            *line = new;
        }
        (line.cases, line.fan_outs, line.failures) = (cases, fan_outs, failures);
    }
}

impl Check<'_> {
    /// A case that fails is worse than any that passes, even if its error is smaller: it may have too many kinks.
    fn badness(&self, row: &Row) -> (bool, f64) {
        (!row.passed(), ratio(row.worst.error, self.tolerance))
    }

    /// The line of one case.
    fn line(&self, pass: String, row: &Row) -> Line {
        let Check { path, case, seed, against, tolerance } = *self;
        let repeat = format!(
            "resconv gradcheck --op {} {} --cases 1 --seed {seed} --case '{}'",
            case.op,
            path.flags(),
            case.name
        );
        Line {
            op: case.op.clone(),
            pass,
            path: path.name(),
            against,
            cases: usize::from(!case.fan_out),
            fan_outs: usize::from(case.fan_out),
            worst_error: row.worst.error,
            tolerance,
            worst_case: case.name.clone(),
            seed,
            failures: usize::from(!row.passed()),
            repeat,
        }
    }
}

/// Error over tolerance; a NaN is the worst.
fn ratio(error: f64, tolerance: Tolerance) -> f64 {
    if error.is_nan() { f64::INFINITY } else { error / tolerance.value() }
}

/// The table, the failures with the commands that repeat them, and a summary line.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "op",
            "pass",
            "path",
            "against",
            ">cases",
            ">worst error",
            ">tolerance",
            "from",
            "result",
            "seed",
            "worst case",
        ]);
        for line in &self.lines {
            table.push([
                line.op.clone(),
                line.pass.clone(),
                line.path.clone(),
                line.against.to_owned(),
                format!("{} + {}", line.cases, line.fan_outs),
                line.tolerance.format(line.worst_error),
                line.tolerance.format(line.tolerance.value()),
                line.tolerance.to_string(),
                if line.passed() { "ok".to_owned() } else { format!("FAILED {} times", line.failures) },
                line.seed.to_string(),
                line.worst_case.clone(),
            ]);
        }
        writeln!(f, "{table}")?;
        for line in self.failed() {
            writeln!(f, "\n{} {} on {} against {} FAILED; to repeat:", line.op, line.pass, line.path, line.against)?;
            writeln!(f, "  {}", line.repeat)?;
        }
        let comparisons: usize = self.lines.iter().map(|line| line.cases + line.fan_outs).sum();
        writeln!(f, "\ncases: those of an operation alone + those with a fan-out of two")?;
        writeln!(f, "errors: in multiples (x) of those that rounding is expected to cause; relative to differences")?;
        if self.kinks > 0 {
            writeln!(f, "kinks: at {} elements, where any gradient between two slopes is right", self.kinks)?;
        }
        write!(
            f,
            "{} lines, {comparisons} comparisons, {} lines failed, {:.1} s",
            self.lines.len(),
            self.failed().count(),
            self.seconds
        )
    }
}
