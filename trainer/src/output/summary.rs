//! What a run ends with: its result, its cost, and the study's figures beside them.

use crate::published::Study;
use crate::system::files::{self, FileError};
use crate::system::json;
use crate::system::machine::Machine;
use crate::validation::Validation;
use engine::mib;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

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
    /// Why it ended before its time, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
    /// Mean loss of the last 100 training steps whose loss was finite, if there are any.
    pub training_loss: Option<f64>,
    /// Validation losses.
    pub validation: Validation,
    /// Minutes that the training steps took, those before a `--resume` included.
    pub minutes: f64,
    /// Training images a second.
    #[serde(deserialize_with = "json::null_is_nan")]
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
    /// The share of the machine's processors that other programs used while it trained, for as far as this process
    /// saw it; absent where the system does not tell, and for several ranks.
    #[serde(default)]
    pub others_share: Option<f64>,
    /// What the backend ran on.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// The study's figures for this network, if it has any.
    pub study: Option<Study>,
}

/// A run ended because its validation loss did not become lower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlyStop {
    /// Validations in a row that were no better than one before them.
    pub validations: u64,
    /// The lowest validation loss, with running statistics, if one was finite: that of `best.safetensors`.
    pub best: Option<f64>,
    /// Training images after which that was.
    pub best_samples: u64,
}

/// As part of a summary.
impl fmt::Display for EarlyStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.best {
            Some(best) => write!(
                f,
                "no lower validation loss in {} validations; the best, {best:.5} after {} images, is best.safetensors",
                self.validations, self.best_samples
            ),
            None => write!(f, "no finite validation loss in {} validations", self.validations),
        }
    }
}

fn one() -> usize {
    1
}

impl Summary {
    /// Why its results say little, if it skipped a tenth of its steps or more.
    pub fn warning(&self) -> Option<String> {
        let Summary { steps, skipped_steps: skipped, .. } = *self;
        let told = || format!("{skipped} of {steps} steps changed nothing: try a lower --lr, or --clip-grad-norm");
        (skipped > 0 && skipped.saturating_mul(10) >= steps).then(told)
    }

    /// Reads the `summary.json` of a run.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Summary, FileError> {
        files::read_json(path, MAX_BYTES)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { parameters, steps, samples, minutes, images_per_second, device, threads, .. } = self;
        writeln!(f, "{:<28}{samples} images in {steps} steps", "trained")?;
        if let Some(early_stop) = self.early_stop {
            writeln!(f, "{:<28}{early_stop}", "stopped early")?;
        }
        if self.skipped_steps > 0 {
            writeln!(f, "{:<28}{} steps: a loss or gradient was not finite", "skipped", self.skipped_steps)?;
        }
        if let Some(warning) = self.warning() {
            writeln!(f, "{:<28}{warning}", "WARNING")?;
        }
        let training = self.training_loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.5}"));
        writeln!(f, "{:<28}{training}", "training loss")?;
        writeln!(f, "{:<28}{:.5}", "validation, running stat.", self.validation.running.all)?;
        write!(f, "{:<28}{:.5}", "validation, batch stat.", self.validation.batch.all)?;
        if let Some(study) = self.study {
            write!(f, "   (study: {:.5} after 180000 images)", study.validation_loss)?;
        }
        for (name, value) in self.validation.measures.shown() {
            write!(f, "\n{:<28}{value}", format!("validation, {name}"))?;
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
            Some(bytes) => write!(f, "\n{:<28}{:.0} MiB", "peak resident memory", mib(bytes as usize)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::{Losses, Measures};

    #[test]
    fn what_is_not_a_number_is_read_as_it_was_written_and_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        let losses = |all| Losses { all, left: None, right: Some(0.25), top: Some(0.5), bottom: Some(f64::NAN) };
        let summary = Summary {
            layers: 1,
            parameters: 9,
            steps: 2,
            samples: 16,
            skipped_steps: 2,
            early_stop: None,
            training_loss: None,
            validation: Validation {
                running: losses(f64::NAN),
                batch: losses(f64::INFINITY),
                measures: Measures::default(),
            },
            minutes: 0.0,
            images_per_second: f64::INFINITY,
            peak_resident_bytes: None,
            planned_bytes: 1,
            device: "cpu".to_owned(),
            threads: 1,
            ranks: 1,
            others_share: None,
            machine: None,
            study: None,
        };
        let text = summary.to_string();
        assert!(text.contains("\nvalidation, batch stat.     inf\nparameters "), "{text}");
        assert!(
            text.contains("\nWARNING                     2 of 2 steps changed nothing: try a lower --lr"),
            "{text}"
        );
        assert_eq!(Summary { steps: 21, ..summary.clone() }.warning(), None);
        let mut with_measures = summary.clone();
        with_measures.validation.measures =
            Measures { psnr: Some(20.0), missing_l1: Some(0.5), damaged_psnr: Some(9.875), ..Measures::default() };
        let told = "inf\nvalidation, PSNR            20.00 dB (damaged: 9.88 dB)\nvalidation, missing L1      0.50000\nparameters ";
        assert!(with_measures.to_string().contains(told), "{with_measures}");
        files::write_json(&path, serde_json::to_string(&summary)).unwrap();
        let read = Summary::read(&path).unwrap();
        assert!(read.training_loss.is_none() && read.images_per_second.is_nan());
        assert!(read.validation.running.all.is_nan() && read.validation.batch.all.is_nan());
        let Losses { left, right, top, bottom, .. } = read.validation.batch;
        assert_eq!([left, right, top, bottom], [None, Some(0.25), Some(0.5), None]);
    }
}
