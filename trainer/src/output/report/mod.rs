//! Reports: the results of a run or of many, as one HTML file that needs nothing else, and its table and charts as
//! files.
//!
//! | module | what it answers |
//! | --- | --- |
//! | `content` | which runs it is about, and what could not be read |
//! | `runs` | what the folders of runs hold |
//! | `groups` | which runs are the same but for their seeds, and how settings differ |
//! | `table` | the table, in every form |
//! | `charts` | which charts there are |
//! | `names` | how runs are called |
//! | `maps` | pictures of errors |
//! | `page` | the HTML file |
//! | `serve` | the same page on a local port |
//!
//! A report is made of the folders alone, so it can be renewed at any time, also while a run goes on.

mod charts;
mod content;
mod groups;
mod maps;
mod names;
mod page;
mod runs;
mod serve;
mod table;

use crate::published::PublishedError;
use crate::settings::SettingsError;
use crate::system::files::{self, FileError, OutputError};
use crate::system::stop::Signal;
use crate::system::terminal;
use content::Content;
pub use serve::Server;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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
    #[error("{}: no run: neither it nor a folder in it has a settings.toml", path.display())]
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
    /// The report cannot be served.
    #[error(
        "port {port} of 127.0.0.1: {reason}; choose another one with --serve PORT, or let the system choose with --serve"
    )]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        reason: String,
    },
    /// The signals that end the server cannot be caught, or it lost its port.
    #[error("the report cannot be served: {0}")]
    Serve(#[source] io::Error),
    /// The server was asked to stop.
    #[error("stopped by {0}")]
    Stopped(Signal),
}

/// What a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The folders of runs, of sweeps, and of several of them.
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
    let Request { folders, out, overwrite, .. } = request;
    let out = match (out, &folders[..]) {
        (Some(out), _) => out,
        (None, [folder]) => folder,
        _ => return Err(ReportError::NoPlace { folders: folders.len() }),
    };
    let content = Content::of(request)?;
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
