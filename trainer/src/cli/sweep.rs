//! `resconv sweep`

use clap::Args;
use std::path::PathBuf;
use trainer::output::report;
use trainer::sweep::{self, ListFlags, Sweep};
use trainer::system::terminal::{print_result, print_status};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// TOML file of the matrix; the settings' flags win over it, and may list several values: --layers 1,2,3
    file: PathBuf,
    /// Print the runs with their parameters, memory and estimated times, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: ListFlags,
}

pub(super) fn run(args: SweepArgs) -> anyhow::Result<()> {
    let SweepArgs { file, dry_run, mut settings } = args;
    let out = settings.take("out").and_then(|out| out.into_iter().next());
    let planned = Sweep::read(&file, &settings)?;
    let out = out.map_or_else(|| planned.default_out.clone(), PathBuf::from);
    if dry_run {
        return Ok(print_result(&sweep::dry_run(&planned, &out)?)?);
    }
    let renewed = sweep::sweep(&planned, &out, &report::renew)?;
    let report = if renewed { format!("; the report is {}", out.join("report.html").display()) } else { String::new() };
    print_status(&format!("\nall {} runs are done{report}", planned.runs.len()));
    Ok(())
}
