//! The table of what was compared.

use crate::Shape;
use std::fmt;

/// The result of a check, a row for every tensor. Printing it gives a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was compared with what.
    pub title: String,
    /// One row per tensor.
    pub rows: Vec<Row>,
}

/// The result for one tensor.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the tensor.
    pub tensor: String,
    /// `input`, `parameter`, `state`, `output` or `adjoint`.
    pub kind: &'static str,
    /// Its shape.
    pub shape: Shape,
    /// Number of elements compared.
    pub checked: usize,
    /// Number of elements at which the function has kinks, so that several gradients are right.
    pub kinks: usize,
    /// The element with the largest error.
    pub worst: Worst,
    /// Largest error that passes.
    pub tolerance: f64,
}

/// The element of a tensor with the largest error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// Its index in the flat tensor.
    pub element: usize,
    /// Its error, as the check defines it.
    pub error: f64,
    /// What was checked: the analytic gradient, or the backend's value.
    pub got: f64,
    /// What it was checked against: the numeric gradient, or the reference's value.
    pub want: f64,
}

impl Worst {
    /// Takes another element instead if its error is larger or NaN.
    pub(super) fn update(&mut self, element: usize, error: f64, got: f64, want: f64) {
        let is_worse = error.is_nan() || (error > self.error && !self.error.is_nan());
        if is_worse {
            *self = Worst { element, error, got, want };
        }
    }
}

impl Row {
    /// Whether the worst error is within the tolerance. An error of NaN does not pass.
    pub fn passed(&self) -> bool {
        self.worst.error <= self.tolerance
    }

    /// Index of the worst element in every dimension.
    fn worst_index(&self) -> Vec<usize> {
        let mut rest = self.worst.element;
        let mut index: Vec<usize> = Vec::new();
        for &dim in self.shape.dims().iter().rev() {
            index.insert(0, rest % dim);
            rest /= dim;
        }
        index
    }
}

impl Report {
    /// Whether every row passed.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(Row::passed)
    }
}

/// A table in which rows that failed are marked.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings =
            ["tensor", "kind", "shape", "checked", "kinks", "worst error", "tolerance", "at", "got", "expected", ""];
        let mut table = vec![headings.map(str::to_owned)];
        for row in &self.rows {
            let Worst { error, got, want, .. } = row.worst;
            table.push([
                row.tensor.clone(),
                row.kind.to_owned(),
                row.shape.to_string(),
                row.checked.to_string(),
                row.kinks.to_string(),
                format!("{error:.1e}"),
                format!("{:.0e}", row.tolerance),
                format!("{:?}", row.worst_index()),
                format!("{got:.9e}"),
                format!("{want:.9e}"),
                if row.passed() { "ok" } else { "FAILED" }.to_owned(),
            ]);
        }
        let mut widths = [0; 11];
        for line in &table {
            line.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.len().max(*width));
        }
        write!(f, "{}: {}", self.title, if self.passed() { "ok" } else { "FAILED" })?;
        for line in &table {
            let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            write!(f, "\n{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}
