//! The flags that several commands have, and the weights that they read.

use clap::Args;
use std::path::{Path, PathBuf};
use trainer::settings::{
    Device, NetworkFlags, Preset, RunFlags, Settings, SettingsFlags, SettingsSource, TrainingFlags, resolve,
    show_default,
};
use trainer::system::terminal::print_status;
use trainer::train::checkpoint::Checkpoint;

/// The network, and what computes it.
#[derive(Debug, Args)]
#[command(mut_args = show_default)]
pub(super) struct ModelArgs {
    /// Where the settings come from that neither the flags nor the file of weights have
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    #[command(flatten)]
    network: NetworkFlags,
    /// Height and width of the images that the network sees, in pixels; a checkpoint of a run has its own
    #[arg(long, help_heading = "Network")]
    size: Option<usize>,
    /// What computes: auto, cpu, cuda, cuda:N or reference, as in training
    #[arg(long, help_heading = "Run")]
    device: Option<Device>,
    /// Convolve on the GPU's tensor cores, as in training
    #[arg(long, help_heading = "Run")]
    tf32: bool,
    /// Threads that compute; 0 for one a core
    #[arg(long, help_heading = "Run")]
    threads: Option<usize>,
}

/// Where the dataset is.
#[derive(Debug, Default, Args)]
pub(super) struct DataFlags {
    /// Folder of the dataset's files [default: searched for, and fetched if there is none]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    data: Option<PathBuf>,
    /// Take dataset files whose checksums are not the published ones
    #[arg(long, help_heading = "Run")]
    unverified_data: bool,
}

impl ModelArgs {
    /// As flags of settings, with those that only some commands have.
    pub(super) fn into_flags(self, batch: Option<usize>, data: DataFlags) -> SettingsFlags {
        let ModelArgs { preset, network, size, device, tf32, threads } = self;
        let DataFlags { data, unverified_data } = data;
        let (tf32, unverified_data) = (Some(tf32), Some(unverified_data));
        SettingsFlags {
            preset,
            network,
            training: TrainingFlags { size, batch, ..TrainingFlags::default() },
            run: RunFlags { device, tf32, threads, data, unverified_data, ..RunFlags::default() },
        }
    }
}

/// Reads weights and the settings of their network. Flags win over the file, and the file over the preset.
pub(super) fn open(path: &Path, flags: &SettingsFlags) -> anyhow::Result<(Checkpoint, Settings)> {
    let checkpoint = Checkpoint::read(path)?;
    let known = match &checkpoint.run {
        Some(run) => SettingsSource::trained(&run.settings)?,
        None => {
            let architecture = checkpoint.architecture()?;
            architecture.assumptions.iter().for_each(|line| print_status(&format!("{}: {line}", path.display())));
            SettingsSource::inferred(&architecture.network)?
        }
    };
    let settings = resolve(&[SettingsSource::flags(flags)?, known])?;
    Ok((checkpoint, settings))
}
