//! The flags that say how much a command tells.

use clap::Args;
use trainer::system::terminal::{Verbosity, set_verbosity};

/// How much a command tells.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct VerbosityFlags {
    /// Print errors and the result only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more: the measures of every validation, and every checkpoint that is written
    #[arg(short, long)]
    verbose: bool,
}

impl VerbosityFlags {
    /// From now on, the program tells as much.
    pub(super) fn apply(self) {
        set_verbosity(match self {
            VerbosityFlags { quiet: true, .. } => Verbosity::Quiet,
            VerbosityFlags { verbose: true, .. } => Verbosity::Verbose,
            _ => Verbosity::Normal,
        });
    }
}
