//! The flags that several commands have, and the weights that they read.

use anyhow::bail;
use clap::Args;
use std::path::{Path, PathBuf};
use trainer::networks::{NETWORKS, ShippedNetwork};
use trainer::settings::{
    Device, NetworkFlags, PrecisionSetting, Preset, RunFlags, Settings, SettingsFlags, SettingsSource, TrainingFlags,
    resolve, show_default,
};
use trainer::system::terminal::print_status;
use trainer::train::RunFolder;
use trainer::train::checkpoint::{Architecture, Checkpoint, Problem, Unknown};

/// The network, and what computes it.
#[derive(Debug, Args)]
#[command(mut_args = show_default)]
pub(super) struct ModelArgs {
    /// TOML file of settings, such as the settings.toml of a run; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the settings come from that neither the flags nor the file of weights have
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    #[command(flatten)]
    network: NetworkFlags,
    /// Height and width of the images that the network sees, in pixels; the weights of a run have their own
    #[arg(long, help_heading = "Network")]
    size: Option<usize>,
    /// What computes: auto, cpu, cuda, cuda:N or reference, as in training
    #[arg(long, help_heading = "Run")]
    device: Option<Device>,
    /// What convolutions multiply on a GPU: f32, tf32x3 or tf32, as in training
    #[arg(long, value_enum, hide_possible_values = true, help_heading = "Run")]
    precision: Option<PrecisionSetting>,
    /// Launch the GPU's kernels one by one, as in training
    #[arg(long, help_heading = "Run")]
    no_graphs: bool,
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
    /// As sources of settings, the flags before the file; with flags that only some commands have.
    pub(super) fn into_sources(self, batch: Option<usize>, data: DataFlags) -> anyhow::Result<Vec<SettingsSource>> {
        let ModelArgs { config, preset, network, size, device, precision, no_graphs, threads } = self;
        let DataFlags { data, unverified_data } = data;
        let [no_graphs, unverified_data] = [no_graphs, unverified_data].map(|flag| flag.then_some(true));
        let flags = SettingsFlags {
            preset,
            network,
            training: TrainingFlags { size, batch, ..TrainingFlags::default() },
            run: RunFlags { device, precision, no_graphs, threads, data, unverified_data, ..RunFlags::default() },
        };
        let mut sources = vec![SettingsSource::flags(&flags)?];
        if let Some(path) = config {
            sources.push(SettingsSource::file(&path)?);
        }
        Ok(sources)
    }
}

/// Reads weights, of a file, a run's folder or a network that ships, and the settings of their network. What was said
/// wins over the file of weights, and that over the preset. If the file has no settings, all must be said that its
/// tensors do not show.
pub(super) fn open(path: &Path, mut said: Vec<SettingsSource>) -> anyhow::Result<(Checkpoint, Settings)> {
    let checkpoint = match ShippedNetwork::find(path) {
        Some(shipped) if !path.exists() => shipped.checkpoint()?,
        None if path.components().count() == 1 && path.extension().is_none() && !path.exists() => {
            let names: Vec<&str> = NETWORKS.iter().map(|network| network.name).collect();
            bail!(
                "{}: no such file or folder, and not the name of a network that ships: {}",
                path.display(),
                names.join(", ")
            )
        }
        _ => Checkpoint::read_weights(&RunFolder::weights_of(path)?, &print_status)?,
    };
    let path = &checkpoint.path;
    match &checkpoint.run {
        Some(run) => said.push(SettingsSource::trained(&run.settings)?),
        None => {
            let Architecture { network, unknown } = checkpoint.architecture()?;
            let preset = said.iter().any(SettingsSource::says_preset);
            let says = |section, key| said.iter().any(|source| source.says(section, key));
            let mut missing = unknown;
            missing.retain(|unknown| !(says("network", unknown.key) || preset && unknown.may_be_preset));
            if !preset && !says("training", "size") {
                missing.insert(0, Unknown { key: "size", may_be_preset: true });
            }
            if !missing.is_empty() {
                return Err(Problem::Unsaid { missing }.of(path).into());
            }
            said.push(SettingsSource::inferred(&network)?);
        }
    }
    let settings = resolve(&said)?;
    Ok((checkpoint, settings))
}
