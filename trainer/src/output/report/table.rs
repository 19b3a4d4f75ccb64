//! The table of a report: a row for each setting, in every form.

use super::Problem;
use super::groups::{Group, Groups, Spread};
use crate::output::table::to_csv;
use crate::sweep::Status;
use crate::train::ValidationRow;
use indicatif::HumanCount;

/// A table whose rows are sorted by loss.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) title: String,
    /// Its heading in CSV files.
    pub(super) name: String,
    pub(super) is_number: bool,
    /// Whether it is a setting of the study's table.
    pub(super) is_setting: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// What is shown.
    pub(super) text: String,
    /// What it is sorted by, and what CSV files have.
    pub(super) value: String,
}

/// The column of the names of runs.
pub(super) const RUN: &str = "run";

/// The settings that the study's table has: their names, and its headings for them.
const SETTINGS: [(&str, &str); 6] = [
    ("layers", "layers"),
    ("kernel_size", "ks"),
    ("channels", "ch"),
    ("stride", "stride"),
    ("padding", "pad"),
    ("activation", "act"),
];

/// A measure of a validation that not all runs have: heading, heading in CSV files, digits, value.
type Measure = (&'static str, &'static str, usize, fn(&ValidationRow) -> Option<f64>);

/// The loss of a part of the pixels.
const PARTS: [Measure; 2] =
    [("known", "known_l1", 5, |row| row.known_l1), ("missing", "missing_l1", 5, |row| row.missing_l1)];

const MEASURES: [Measure; 2] = [("PSNR (dB)", "psnr", 2, |row| row.psnr), ("SSIM", "ssim", 4, |row| row.ssim)];

type Read<'g> = Box<dyn Fn(&Group<'_>) -> Cell + 'g>;

impl Table {
    pub(super) fn new<'g>(groups: &'g Groups<'_>) -> Table {
        let mut columns: Vec<(Column, Read<'g>)> = Vec::new();
        let mut column = |title: &str, name: &str, is_number: bool, read: Read<'g>| {
            let is_setting = SETTINGS.iter().any(|(key, _)| *key == name);
            columns.push((Column { title: title.to_owned(), name: name.to_owned(), is_number, is_setting }, read));
        };
        column("run", RUN, false, Box::new(|group| Cell::text(group.names())));
        for (key, title) in SETTINGS {
            column(title, key, key != "activation", Box::new(move |group| Cell::text(group.settings().shown(key))));
        }
        for key in groups.differing.iter().filter(|key| SETTINGS.iter().all(|(known, _)| known != key)) {
            let is_number = groups.all.iter().all(|group| group.settings().shown(key).parse::<f64>().is_ok());
            let read = move |group: &Group| Cell::text(group.settings().shown(key));
            column(&key.replace('_', " "), key, is_number, Box::new(read));
        }
        let any = |has: &dyn Fn(&Group) -> bool| groups.all.iter().any(has);
        if any(&|group| group.runs.len() > 1) {
            column("seeds", "seeds", true, Box::new(|group| Cell::text(group.seeds())));
        }
        column("validation loss", "running_loss", true, Box::new(|group| Cell::spread(group.running(), 5)));
        if any(&|group| group.running().is_some_and(|loss| loss.deviation.is_some())) {
            let deviation = |group: &Group| Cell::number(group.running().and_then(|loss| loss.deviation), 5);
            column("± std.", "running_loss_deviation", true, Box::new(deviation));
        }
        let halves = groups.all.iter().all(|group| group.settings().training.task.is_half_crop());
        for (part, name, digits, measure) in PARTS {
            if any(&|group: &Group| group.measure(measure).is_some()) {
                let title = format!("{part} {}", if halves { "half" } else { "pixels" });
                column(&title, name, true, Box::new(move |group| Cell::spread(group.measure(measure), digits)));
            }
        }
        column("loss, batch statistics", "batch_loss", true, Box::new(|group| Cell::spread(group.batch(), 5)));
        let published = any(&|group| group.published.is_some());
        if published {
            let loss = |group: &Group| group.published.map(|row| row.validation_loss);
            column("published loss", "published_loss", true, Box::new(move |group| Cell::number(loss(group), 5)));
            let difference = move |group: &Group| {
                let difference = group.batch().and_then(|ours| Some(ours.mean - loss(group)?));
                let Cell { text, value } = Cell::number(difference, 5);
                Cell { text: if difference > Some(0.0) { format!("+{text}") } else { text.replace('-', "−") }, value }
            };
            column("difference", "difference", true, Box::new(difference));
        }
        for (title, name, digits, measure) in MEASURES {
            if any(&|group: &Group| group.measure(measure).is_some()) {
                column(title, name, true, Box::new(move |group| Cell::spread(group.measure(measure), digits)));
            }
        }
        let parameters = |group: &Group| {
            let parameters = group.runs[0].parameters;
            Cell { text: HumanCount(parameters as u64).to_string(), value: parameters.to_string() }
        };
        column("model params", "parameters", true, Box::new(parameters));
        let marked = |group: &Group, cell: Cell| match group.is_shared() && !cell.text.is_empty() {
            true => Cell { text: format!("≈ {}", cell.text), ..cell },
            false => cell,
        };
        let minutes = move |group: &Group| marked(group, Cell::spread(group.minutes(), 2));
        column("train time (min)", "train_minutes", true, Box::new(minutes));
        if published {
            let minutes = |group: &Group| Cell::number(group.published.map(|row| row.minutes), 2);
            column("published time (min)", "published_minutes", true, Box::new(minutes));
        }
        let images = move |group: &Group| {
            let mut speeds = group.runs.iter().filter_map(|run| Some(run.summary.as_ref()?.images_per_second));
            marked(group, Cell::number(speeds.find(|speed| speed.is_finite()), 0))
        };
        column("images/s", "images_per_second", true, Box::new(images));
        if groups.runs().any(|(_, run)| run.status != Status::Done) {
            column("state", "state", false, Box::new(|group| Cell::text(state(group))));
        }
        let rows = groups.all.iter().map(|group| columns.iter().map(|(_, read)| read(group)).collect()).collect();
        Table { rows, columns: columns.into_iter().map(|(column, _)| column).collect() }
    }

    /// The table in GitHub's Markdown, and below it what is missing in it.
    pub(super) fn markdown(&self, problems: &[Problem]) -> String {
        let cells = |row: &mut dyn Iterator<Item = &str>| {
            let escaped: Vec<String> = row.map(markdown).collect();
            format!("| {} |\n", escaped.join(" | "))
        };
        let mut text = cells(&mut self.columns.iter().map(|column| column.title.as_str()));
        text += &cells(&mut self.columns.iter().map(|column| if column.is_number { "---:" } else { ":---" }));
        for row in &self.rows {
            text += &cells(&mut row.iter().map(|cell| cell.text.as_str()));
        }
        if !problems.is_empty() {
            text += "\nNot in the table:\n\n";
        }
        for problem in problems {
            text += &format!("- {}\n", markdown(&problem.to_string()));
        }
        text
    }

    /// The table as CSV, with all digits.
    pub(super) fn csv(&self) -> String {
        let names = self.columns.iter().map(|column| column.name.as_str());
        to_csv(names, self.rows.iter().map(|row| row.iter().map(|cell| cell.value.as_str())))
    }
}

/// Text as a cell of a table in Markdown has it: without its punctuation meaning anything, on one line.
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '|' | '`' | '*' | '<' | '[' | '&' | '~' | '$' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

impl Cell {
    fn text(text: impl ToString) -> Cell {
        let text = text.to_string();
        Cell { value: text.clone(), text }
    }

    fn number(value: Option<f64>, digits: usize) -> Cell {
        value.map_or_else(Cell::default, |value| Cell { text: format!("{value:.digits$}"), value: value.to_string() })
    }

    fn spread(value: Option<Spread>, digits: usize) -> Cell {
        Cell::number(value.map(|spread| spread.mean), digits)
    }
}

/// The state of a group, which is that of its first run that is not done.
fn state(group: &Group<'_>) -> String {
    group.runs.iter().find_map(|run| run.state()).unwrap_or_else(|| "done".to_owned())
}
