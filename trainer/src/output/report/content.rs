//! Which runs a report is about, and its files.

use super::groups::Groups;
use super::names::name_of;
use super::page::{self, Page, View};
use super::runs::Run;
use super::table::Table;
use super::{Problem, ReportError, Request, Written, charts};
use crate::published::Published;
use crate::sweep::State;
use crate::system::files::{self, FileError};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Everything that a report is made of.
#[derive(Default)]
pub(super) struct Content {
    title: String,
    pub(super) runs: Vec<Run>,
    published: Published,
    /// Whether it is about one sweep, whose runs are named after their settings.
    is_sweep: bool,
    /// What could not be read of the folders, apart from single files of runs.
    problems: Vec<Problem>,
}

impl Content {
    /// Reads the folders. What cannot be read is among the problems, unless it is all.
    ///
    /// # Errors
    /// [`ReportError`] if nothing can be read, or the published results cannot.
    pub(super) fn of(request: &Request) -> Result<Content, ReportError> {
        let Request { folders, title, published, .. } = request;
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
        content.is_sweep &= folders.len() == 1;
        content.name_apart();
        if let Some(path) = published {
            content.published = Published::read(path)?;
        }
        if let Some(title) = title {
            content.title.clone_from(title);
        }
        Ok(content)
    }

    /// The same about one of its runs.
    pub(super) fn only(mut self, run: usize) -> Content {
        let run = self.runs.swap_remove(run);
        Content { title: run.name.clone(), runs: vec![run], problems: Vec::new(), is_sweep: false, ..self }
    }

    fn problem(&mut self, name: &str, reason: &dyn fmt::Display) {
        self.problems.push(Problem { name: name.to_owned(), reason: reason.to_string() });
    }

    /// Adds the run or the sweep in a folder, or those in the folders in it.
    fn add(&mut self, folder: &Path) -> Result<(), ReportError> {
        if State::path(folder).exists() {
            self.title = self.add_sweep(folder, "")?;
            self.is_sweep = true;
            return Ok(());
        }
        self.title = name_of(folder);
        if let Some(run) = Run::read(folder)? {
            self.runs.push(run);
            return Ok(());
        }
        let before = (self.runs.len(), self.problems.len());
        for inner in folders_in(folder).map_err(FileError::at("look into", folder))? {
            let name = name_of(&inner);
            if State::path(&inner).exists() {
                if let Err(error) = self.add_sweep(&inner, &format!("{name}/")) {
                    self.problem(&name, &error);
                }
                continue;
            }
            match Run::read(&inner) {
                Ok(run) => self.runs.extend(run),
                Err(error) => self.problem(&name, &error),
            }
        }
        match (self.runs.len(), self.problems.len()) == before {
            true => Err(ReportError::NoRun { path: folder.to_owned() }),
            false => Ok(()),
        }
    }

    /// Adds the runs of a sweep, whose names begin with `prefix`, and returns its title.
    fn add_sweep(&mut self, folder: &Path, prefix: &str) -> Result<String, ReportError> {
        let state = State::read(folder)?;
        for entry in &state.runs {
            let name = format!("{prefix}{}", entry.name);
            match (Run::of_sweep(folder, entry), &entry.error) {
                (Ok(Some(run)), _) => self.runs.push(Run { name, ..run }),
                (Ok(None), Some(error)) => self.problem(&name, error),
                (Ok(None), None) => {}
                (Err(error), _) => self.problem(&name, &error),
            }
        }
        if State::published(folder).exists() {
            match Published::read(&State::published(folder)) {
                Ok(published) => self.published = published,
                Err(error) => self.problem(&format!("{prefix}published results"), &error),
            }
        }
        Ok(state.title)
    }

    /// Gives runs of the same name in several folders the names of their folders, too.
    fn name_apart(&mut self) {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<String> =
            self.runs.iter().filter(|run| !seen.insert(&run.name)).map(|run| run.name.clone()).collect();
        for run in self.runs.iter_mut().filter(|run| twice.contains(&run.name)) {
            run.name = run.folder.display().to_string();
        }
    }

    /// The page.
    pub(super) fn page(self, view: View) -> String {
        self.rendered(view).1
    }

    /// Writes the files of the report.
    pub(super) fn write(self, out: &Path, overwrite: bool) -> Result<Written, ReportError> {
        let (mut content, page, problems) = self.rendered(View::File);
        content.push(("report.html".to_owned(), page));
        let paths: Vec<PathBuf> = content.iter().map(|(name, _)| out.join(name)).collect();
        files::check_outputs(paths.iter().map(PathBuf::as_path), overwrite)?;
        for (path, (_, content)) in paths.iter().zip(&content) {
            files::write_bytes(path, content.as_bytes())?;
        }
        Ok(Written { path: out.join("report.html"), problems })
    }

    /// The names and contents of the files beside the page, the page, and what is missing in it.
    fn rendered(self, view: View) -> (Vec<(String, String)>, String, Vec<Problem>) {
        let Content { title, runs, published, is_sweep, mut problems } = self;
        let groups = Groups::new(&runs, &published, is_sweep);
        for (_, run) in groups.runs() {
            let of_run = |reason: &String| Problem { name: run.name.clone(), reason: reason.clone() };
            problems.extend(run.problems.iter().map(of_run));
        }
        let table = Table::new(&groups);
        let charts = charts::all(&groups);
        let mut content =
            vec![("table.md".to_owned(), table.markdown(&problems)), ("table.csv".to_owned(), table.csv())];
        content.extend(charts.iter().map(|chart| (format!("{}.svg", chart.id), chart.svg())));
        let page = Page { title: &title, groups: &groups, table: &table, charts: &charts, problems: &problems, view };
        let html = page::html(&page);
        (content, html, problems)
    }
}

/// The folders in a folder, by name.
fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.is_dir());
    paths.sort_unstable();
    Ok(paths)
}
