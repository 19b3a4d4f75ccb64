//! Tables, for people and as CSV.

use std::fmt;

/// Rows of cells under headings. Printed, columns are as wide as their widest cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Heading {
    name: &'static str,
    /// Whether cells are printed at the right edge of their column, as numbers are.
    right: bool,
}

impl Table {
    /// A table without rows. Columns whose heading begins with `>` are printed at the right; the sign is not shown.
    pub fn new(headings: &[&'static str]) -> Table {
        let heading = |&name: &&'static str| match name.strip_prefix('>') {
            Some(name) => Heading { name, right: true },
            None => Heading { name, right: false },
        };
        Table { headings: headings.iter().map(heading).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has another number of cells than there are headings.
    pub fn push(&mut self, row: impl IntoIterator<Item = String>) {
        let row: Vec<String> = row.into_iter().collect();
        assert_eq!(row.len(), self.headings.len(), "cells of {row:?}");
        self.rows.push(row);
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// The table as comma-separated values with a line of headings.
    pub fn csv(&self) -> String {
        to_csv(
            self.headings.iter().map(|heading| heading.name),
            self.rows.iter().map(|row| row.iter().map(String::as_str)),
        )
    }
}

/// A table as comma-separated values (RFC 4180, but with single line feeds).
pub(super) fn to_csv<'a, R: Iterator<Item = &'a str>>(
    headings: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = R>,
) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written =
        writer.write_record(headings).and_then(|()| rows.into_iter().try_for_each(|row| writer.write_record(row)));
    written.expect("rows as long as the headings");
    String::from_utf8(writer.into_inner().expect("writing to memory")).expect("text of texts")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings: Vec<String> = self.headings.iter().map(|heading| heading.name.to_owned()).collect();
        let mut widths: Vec<usize> = headings.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            row.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.chars().count().max(*width));
        }
        for (i, row) in std::iter::once(&headings).chain(&self.rows).enumerate() {
            let cells = row.iter().zip(&self.headings).zip(&widths).map(|((cell, heading), &width)| {
                if heading.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            write!(f, "{}{}", if i > 0 { "\n" } else { "" }, line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["name", ">ms"]);
        table.push(["conv2d, first".to_owned(), "1.5".to_owned()]);
        table.push(["µ \"x\"".to_owned(), "10.25".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(table().to_string(), "name              ms\nconv2d, first    1.5\nµ \"x\"          10.25");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        assert_eq!(table().csv(), "name,ms\n\"conv2d, first\",1.5\n\"µ \"\"x\"\"\",10.25\n");
    }
}
