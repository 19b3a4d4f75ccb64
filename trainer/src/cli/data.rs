//! `resconv data`

use clap::Args;
use std::path::PathBuf;
use trainer::data::{self, Format};
use trainer::settings::Settings;
use trainer::system::terminal::{print_result, print_status};

#[derive(Debug, Args)]
pub(super) struct DataArgs {
    /// Folder of the dataset's files, or of pictures [default: Fashion-MNIST, searched for, and fetched if there is
    /// none]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Format of the dataset
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    data_format: Format,
    /// Leave out pictures that cannot be read, and count them
    #[arg(long)]
    skip_unreadable: bool,
}

pub(super) fn run(args: DataArgs) -> anyhow::Result<()> {
    let mut settings = Settings::default();
    settings.run.data = args.data;
    settings.run.data_format = args.data_format;
    settings.run.skip_unreadable = args.skip_unreadable;
    let report = data::check(&settings.data_request(), &print_status)?;
    print_result(&report.to_string())?;
    Ok(())
}
