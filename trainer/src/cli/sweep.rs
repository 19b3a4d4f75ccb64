//! `resconv sweep`

use super::verbosity::VerbosityFlags;
use clap::Args;
use std::path::PathBuf;
use trainer::output::report;
use trainer::sweep::{self, ListFlags, Shard, Sweep};
use trainer::system::terminal::{print_end, print_result, print_status};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// TOML file of the matrix; the settings' flags win over it, and may list several values: --layers 1,2,3. A value
    /// with commas stands in brackets: `--channels 8,16:64,[16,32,64]`
    file: PathBuf,
    /// Print the runs with their parameters, memory and estimated times, and stop
    #[arg(long)]
    dry_run: bool,
    /// Print who does what: the state of every run, how far it is, and the process that computes it, and stop
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// Run the K-th of N parts only, for job arrays; without it, processes share the runs by themselves
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    verbosity: VerbosityFlags,
    #[command(flatten)]
    settings: ListFlags,
}

pub(super) fn run(args: SweepArgs) -> anyhow::Result<()> {
    let SweepArgs { file, dry_run, status, shard, verbosity, mut settings } = args;
    verbosity.apply();
    let shard = shard.unwrap_or_default();
    let out = settings.take("out").and_then(|out| out.into_iter().next());
    let planned = Sweep::read(&file, &settings)?;
    let out = out.map_or_else(|| planned.default_out.clone(), PathBuf::from);
    if dry_run {
        let (table, refused) = sweep::dry_run(&planned, &out)?;
        print_result(&table)?;
        return refused.map_or(Ok(()), |refused| Err(refused.into()));
    }
    if status {
        return Ok(print_result(&sweep::status(&planned, &out))?);
    }
    let renewed = sweep::sweep(&planned, &out, shard, &report::renew)?;
    let report = if renewed { format!("; the report is {}", out.join("report.html").display()) } else { String::new() };
    let runs = planned.runs.len();
    let done = if shard.is_whole() {
        format!("{runs} runs")
    } else {
        format!("{} runs of part {shard}", shard.count_of(runs))
    };
    print_status("");
    print_end(&format!("all {done} are done{report}"));
    Ok(())
}
