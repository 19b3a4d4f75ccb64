//! `resconv report`

use clap::Args;
use std::path::PathBuf;
use trainer::output::report;
use trainer::system::terminal::{print_error, print_result};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folders of runs, of sweeps, or of several of them
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
    /// Show the report to browsers of this machine until Ctrl-C, always as the runs are now, and write nothing
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0", conflicts_with_all = ["out", "force"])]
    serve: Option<u16>,
}

pub(super) fn run(args: ReportArgs) -> anyhow::Result<()> {
    let ReportArgs { folders, out, title, reference, force, serve } = args;
    let request = report::Request { folders, out, title, published: reference, overwrite: force };
    if let Some(port) = serve {
        let server = report::Server::open(request, port)?;
        print_result(&server.url())?;
        match server.run()? {}
    }
    let written = report::write(&request)?;
    written.problems.iter().for_each(|problem| print_error(&format!("not in the report: {problem}")));
    Ok(print_result(&written.path.display().to_string())?)
}
