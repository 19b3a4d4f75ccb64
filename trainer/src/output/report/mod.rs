//! Reports: the results of a run or of many, as one HTML file that needs nothing else, and its table and charts as
//! files.
//!
//! | module | what it answers |
//! | --- | --- |
//! | `runs` | what the folders of runs hold |
//! | `groups` | which runs are the same but for their seeds, and how settings differ |
//! | `table` | the table, in every form |
//! | `charts` | which charts there are |
//! | `maps` | pictures of errors |
//! | `page` | the HTML file |
//!
//! A report is made of the folders alone, so it can be renewed at any time, also while a run goes on.

mod charts;
mod groups;
mod maps;
mod page;
mod runs;
mod table;

use crate::published::{Published, PublishedError};
use crate::settings::SettingsError;
use crate::sweep::State;
use crate::system::files::{self, FileError, OutputError};
use crate::system::terminal;
use groups::Groups;
use runs::Run;
use std::fmt;
use std::path::{Path, PathBuf};
use table::Table;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is in the way.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A run's settings cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The published results cannot be read.
    #[error(transparent)]
    Published(#[from] PublishedError),
    /// The folder has no run in it.
    #[error("{}: no run: it has no settings.toml", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The report of several folders needs a folder of its own.
    #[error("where should the report of {folders} folders be written? say it with --out")]
    NoPlace {
        /// How many there are.
        folders: usize,
    },
}

/// What a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The folders of runs, and of sweeps.
    pub folders: Vec<PathBuf>,
    /// Where to write it; absent: in the folder, if there is one.
    pub out: Option<PathBuf>,
    /// Its heading; absent: the sweep's, or the folder's name.
    pub title: Option<String>,
    /// A file of published results; absent: the sweep's.
    pub published: Option<PathBuf>,
    /// Whether files in `out` may be overwritten. Those of an earlier report in the only folder always may.
    pub overwrite: bool,
}

/// A report that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The path of `report.html`.
    pub path: PathBuf,
    /// What could not be read, and so is not in it.
    pub problems: Vec<Problem>,
}

/// Something that is not in a report because it cannot be read.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The run or the folder.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Writes `report.html`, `table.md`, `table.csv` and the charts as SVG files. What cannot be read is named in it,
/// beside what can.
///
/// # Errors
/// [`ReportError`] if nothing can be read, or the report cannot be written.
pub fn write(request: &Request) -> Result<Written, ReportError> {
    let Request { folders, out, title, published, overwrite } = request;
    let out = match (out, &folders[..]) {
        (Some(out), _) => out,
        (None, [folder]) => folder,
        _ => return Err(ReportError::NoPlace { folders: folders.len() }),
    };
    let mut content = Content::default();
    let mut first_error = None;
    for folder in folders {
        if let Err(error) = content.add(folder) {
            content.problem(&folder.display().to_string(), &error);
            first_error.get_or_insert(error);
        }
    }
    if let Some(error) = first_error.filter(|_| content.runs.is_empty()) {
        return Err(error);
    }
    if let Some(path) = published {
        content.published = Published::read(path)?;
    }
    if let Some(title) = title {
        content.title.clone_from(title);
    }
    files::create_folder(out)?;
    content.write(out, *overwrite || folders[..] == [out.clone()])
}

/// Renews the report of the folder of a run or a sweep, and returns whether it could. A failure is only printed,
/// because a run should not stop for it.
pub fn renew(folder: &Path) -> bool {
    let request = Request { folders: vec![folder.to_owned()], ..Request::default() };
    let written = write(&request);
    if let Err(error) = &written {
        terminal::print_status(&format!("the report was not renewed: {error}"));
    }
    written.is_ok()
}

/// Everything that a report is made of.
#[derive(Default)]
struct Content {
    title: String,
    runs: Vec<Run>,
    published: Published,
    /// What could not be read of the folders, apart from single files of runs.
    problems: Vec<Problem>,
}

impl Content {
    fn problem(&mut self, name: &str, reason: &dyn fmt::Display) {
        self.problems.push(Problem { name: name.to_owned(), reason: reason.to_string() });
    }

    /// Adds the run, or the sweep, in a folder.
    fn add(&mut self, folder: &Path) -> Result<(), ReportError> {
        if State::path(folder).exists() {
            let state = State::read(folder)?;
            for entry in &state.runs {
                match (Run::of_sweep(folder, entry), &entry.error) {
                    (Ok(Some(run)), _) => self.runs.push(run),
                    (Ok(None), Some(error)) => self.problem(&entry.name, error),
                    (Ok(None), None) => {}
                    (Err(error), _) => self.problem(&entry.name, &error),
                }
            }
            self.title = state.title;
            if State::published(folder).exists() {
                match Published::read(&State::published(folder)) {
                    Ok(published) => self.published = published,
                    Err(error) => self.problem("published results", &error),
                }
            }
            return Ok(());
        }
        let run = Run::read(folder)?.ok_or_else(|| ReportError::NoRun { path: folder.to_owned() })?;
        self.title.clone_from(&run.name);
        self.runs.push(run);
        Ok(())
    }

    fn write(mut self, out: &Path, overwrite: bool) -> Result<Written, ReportError> {
        let groups = Groups::new(&self.runs, &self.published);
        for (group, run) in groups.runs() {
            let name = group.label_of(run);
            self.problems
                .extend(run.problems.iter().map(|reason| Problem { name: name.clone(), reason: reason.clone() }));
        }
        let table = Table::new(&groups);
        let charts = charts::all(&groups);
        let page = out.join("report.html");
        let mut content = vec![(out.join("table.md"), table.markdown()), (out.join("table.csv"), table.csv())];
        content.extend(charts.iter().map(|chart| (out.join(format!("{}.svg", chart.id)), chart.svg())));
        content.push((page.clone(), page::html(&self.title, &groups, &table, &charts, &self.problems)));
        files::check_outputs(content.iter().map(|(path, _)| path.as_path()), overwrite)?;
        for (path, content) in &content {
            files::write_bytes(path, content.as_bytes())?;
        }
        Ok(Written { path: page, problems: self.problems })
    }
}
