//! What a run ends with: its result, its cost, and the study's figures beside them.

use crate::apply::eval::Validation;
use crate::settings::Settings;
use crate::system::files::{self, FileError};
use model::{Padding, ResConvConfig};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::{fmt, io};

/// Longest summary that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// A run in numbers. Written as `summary.json`, and printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Layers of the encoder.
    pub layers: usize,
    /// Trained parameters.
    pub parameters: usize,
    /// Steps.
    pub steps: u64,
    /// Training images.
    pub samples: u64,
    /// Steps among them that changed nothing, because a loss or gradient was not finite.
    #[serde(default)]
    pub skipped_steps: u64,
    /// Mean loss of the last 100 training steps.
    pub training_loss: f64,
    /// Validation losses.
    pub validation: Validation,
    /// Minutes that the training steps took, those before a `--resume` included.
    pub minutes: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// Most memory that this process had resident, in bytes; absent where the system does not tell.
    pub peak_resident_bytes: Option<u64>,
    /// Memory that the plans take, all together, in bytes.
    pub planned_bytes: usize,
    /// The backend: `cpu-avx2`.
    pub device: String,
    /// Its threads, of each rank.
    pub threads: usize,
    /// Processes that computed together.
    #[serde(default = "one")]
    pub ranks: usize,
    /// What the backend ran on.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// The study's figures for this network, if it has any.
    pub study: Option<Study>,
}

fn one() -> usize {
    1
}

/// A computer, as far as it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of its processor.
    pub processor: Option<String>,
    /// Threads that it runs at the same time.
    pub cores: usize,
    /// Its system and architecture.
    pub system: String,
    /// Version of this program.
    pub version: String,
}

impl Machine {
    /// The one that this process runs on.
    pub fn this() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = info.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1));
        Machine {
            processor: processor.map(|name| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The study's figures for a depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Validation loss with batch statistics after 180,000 images.
    pub validation_loss: f64,
    /// Minutes on its author's GPU.
    pub minutes: f64,
}

/// The study's table of depths: 32 x 32 pixels, 32 channels, 3 x 3 kernels.
const LAYERS_TABLE: &str = include_str!("../../reference/layers-32.csv");

impl Study {
    /// The study's figures for the network of these settings. They are of its code's network (preset `original`), but stand beside
    /// every one of the same layers.
    pub fn of(settings: &Settings) -> Option<Study> {
        let network = &settings.network;
        let base = ResConvConfig::default();
        let same_layers = network.channels == base.channels
            && network.kernel_size == base.kernel_size
            && network.stride == base.stride
            && matches!(network.padding, Padding::Auto | Padding::Fixed(1))
            && network.groups == base.groups;
        if !same_layers || settings.training.size != 32 {
            return None;
        }
        let rows = LAYERS_TABLE.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| row[0].parse() == Ok(network.layers))?;
        Some(Study { validation_loss: row[6].parse().ok()?, minutes: row[8].parse().ok()? })
    }
}

impl Summary {
    /// Reads the `summary.json` of a run.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Summary, FileError> {
        let text = files::read_text(path, MAX_BYTES)?;
        serde_json::from_str(&text).map_err(io::Error::from).map_err(FileError::at("use", path))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { parameters, steps, samples, minutes, images_per_second, device, threads, .. } = self;
        writeln!(f, "{:<28}{samples} images in {steps} steps", "trained")?;
        if self.skipped_steps > 0 {
            writeln!(f, "{:<28}{} steps: a loss or gradient was not finite", "skipped", self.skipped_steps)?;
        }
        writeln!(f, "{:<28}{:.5}", "training loss", self.training_loss)?;
        writeln!(f, "{:<28}{:.5}", "validation, running stat.", self.validation.running.all)?;
        write!(f, "{:<28}{:.5}", "validation, batch stat.", self.validation.batch.all)?;
        if let Some(study) = self.study {
            write!(f, "   (study: {:.5} after 180000 images)", study.validation_loss)?;
        }
        writeln!(f, "\n{:<28}{parameters}", "parameters")?;
        write!(f, "{:<28}{minutes:.2} min, {images_per_second:.0} images/s", "training time")?;
        if let Some(study) = self.study {
            write!(f, "   (study: {:.2} min on a GPU)", study.minutes)?;
        }
        write!(f, "\n{:<28}{device}, threads: {threads}", "device")?;
        if self.ranks > 1 {
            write!(f, " on each of {} ranks", self.ranks)?;
        }
        match self.peak_resident_bytes {
            Some(bytes) => write!(f, "\n{:<28}{:.0} MiB", "peak resident memory", mib(bytes)),
            None => Ok(()),
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// Forgets how much memory this process had resident before, where the system can (Linux), so that a run of a sweep does not tell the
/// peak of an earlier one.
pub fn reset_peak_resident_bytes() {
    // Where it fails, the peak is that of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process had resident so far, in bytes, where the system tells (Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Preset;

    #[test]
    fn the_study_is_quoted_for_its_own_networks_only() {
        let study = |change: fn(&mut Settings)| {
            let mut settings = Preset::Original.settings();
            change(&mut settings);
            Study::of(&settings)
        };
        let all = [1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21];
        for layers in all {
            let mut settings = Settings::default();
            settings.network.layers = layers;
            assert!(Study::of(&settings).is_some(), "{layers} layers");
        }
        assert_eq!(study(|s| s.network.layers = 1), Some(Study { validation_loss: 0.164834, minutes: 0.36 }));
        assert_eq!(study(|s| s.network.layers = 15), Some(Study { validation_loss: 0.054141, minutes: 4.17 }));
        assert_eq!(study(|s| s.network.layers = 4), None);
        assert_eq!(study(|s| s.training.size = 28), None);
        assert_eq!(study(|s| s.network.channels = 16.into()), None);
        assert_eq!(study(|s| s.network.kernel_size = 5.into()), None);
        assert_eq!(study(|s| s.network.stride = 2), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        let before = peak_resident_bytes().unwrap();
        let touched = std::hint::black_box(vec![1u8; 256 << 20]);
        let after = peak_resident_bytes().unwrap();
        assert!(after >= before && after >= touched.len() as u64, "{before} then {after}");
    }
}
