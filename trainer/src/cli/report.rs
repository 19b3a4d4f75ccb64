//! `resconv report`

use clap::Args;
use std::path::PathBuf;
use trainer::output::report;
use trainer::system::terminal::{print_error, print_result};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folders of runs, and of sweeps
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Folder for report.html, table.md, table.csv and the plots [default: the run's or the sweep's]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Heading [default: the sweep's, or the folder's name]
    #[arg(long)]
    title: Option<String>,
    /// CSV file of published results, such as those in trainer/published [default: the sweep's]
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Overwrite files in the folder of --out
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: ReportArgs) -> anyhow::Result<()> {
    let ReportArgs { folders, out, title, reference, force } = args;
    let written = report::write(&report::Request { folders, out, title, published: reference, overwrite: force })?;
    written.problems.iter().for_each(|problem| print_error(&format!("not in the report: {problem}")));
    Ok(print_result(&written.path.display().to_string())?)
}
