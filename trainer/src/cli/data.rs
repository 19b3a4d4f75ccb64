//! `resconv data`

use clap::Args;
use std::path::PathBuf;
use trainer::data;
use trainer::system::terminal::{print_result, print_status};

#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(super) fn run(args: DataArgs) -> anyhow::Result<()> {
    let report = data::check(&data::Search::new(args.data), &print_status)?;
    print_result(&report.to_string())?;
    Ok(())
}
