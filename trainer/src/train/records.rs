//! What a run writes at every step and validation: the tables, and the events for TensorBoard.

use super::checkpoint::Position;
use super::error::TrainError;
use super::folder::RunFolder;
use super::log::{self, Log};
use super::step::has_reached;
use crate::output::tensorboard::{Events, Hparam};
use crate::settings::{Settings, SettingsError, value_text};
use crate::validation::{Measures, Validation};
use serde::Deserialize;

const METRICS_HEADER: &str = "step,samples,lr,loss";
const VALIDATION_HEADER: &str = "step,samples,running,batch,psnr,ssim,missing_l1,known_l1";

/// The names of the curves in TensorBoard.
pub(super) const TRAINING_LOSS: &str = "loss/training";
pub(super) const LEARNING_RATE: &str = "learning_rate";
const VALIDATION_CURVES: [&str; 6] = [
    "loss/validation_running",
    "loss/validation_batch",
    "measure/psnr",
    "measure/ssim",
    "measure/missing_l1",
    "measure/known_l1",
];

/// A row of `validation.csv`. Tables of earlier versions end with the losses.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct ValidationRow {
    /// Training images seen.
    pub(crate) samples: f64,
    /// The loss with running statistics.
    pub(crate) running: f64,
    /// The loss with batch statistics.
    pub(crate) batch: f64,
    /// The measure of this name of [`Measures`].
    #[serde(default)]
    pub(crate) psnr: Option<f64>,
    /// The measure of this name.
    #[serde(default)]
    pub(crate) ssim: Option<f64>,
    /// The measure of this name.
    #[serde(default)]
    pub(crate) missing_l1: Option<f64>,
    /// The measure of this name.
    #[serde(default)]
    pub(crate) known_l1: Option<f64>,
}

impl ValidationRow {
    /// The row of a validation after these training images.
    pub(crate) fn new(samples: u64, validation: &Validation) -> ValidationRow {
        let Validation { running, batch, measures: Measures { psnr, ssim, missing_l1, known_l1, .. } } = *validation;
        let (samples, running, batch) = (samples as f64, running.all, batch.all);
        ValidationRow { samples, running, batch, psnr, ssim, missing_l1, known_l1 }
    }

    /// Its columns.
    pub(super) fn columns(&self, step: u64) -> Vec<String> {
        let (step, samples) = (step.to_string(), self.samples.to_string());
        let text = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.7}"));
        [step, samples].into_iter().chain(self.numbers().map(text)).collect()
    }

    /// Its losses and measures, in the order of the table.
    fn numbers(&self) -> [Option<f64>; VALIDATION_CURVES.len()] {
        let ValidationRow { running, batch, psnr, ssim, missing_l1, known_l1, .. } = *self;
        [Some(running), Some(batch), psnr, ssim, missing_l1, known_l1]
    }

    /// Its curves in TensorBoard.
    pub(super) fn scalars(&self) -> Vec<(&'static str, f32)> {
        let all = VALIDATION_CURVES.into_iter().zip(self.numbers());
        all.filter_map(|(name, value)| Some((name, value? as f32))).collect()
    }
}

/// The files of a run that grow with it.
pub(super) struct Records {
    /// A row a step.
    pub(super) metrics: Log,
    /// A row a validation.
    pub(super) validations: Log,
    /// The lowest validation loss so far.
    pub(super) best: Best,
    /// The same for TensorBoard, and the pictures.
    pub(super) events: Events,
}

/// The lowest validation loss of a run, with running statistics.
#[derive(Default)]
pub(super) struct Best {
    /// It, rounded as in the table, because a resumed run compares with that.
    pub(super) loss: Option<f64>,
    /// Training images after which it was.
    pub(super) samples: u64,
    /// Validations since.
    pub(super) since: u64,
}

impl Best {
    /// Adds a validation. Returns whether it is the best so far.
    pub(super) fn add(&mut self, row: &ValidationRow) -> bool {
        let rounded = format!("{:.7}", row.running).parse().unwrap_or(f64::NAN);
        let is_best = rounded.is_finite() && self.loss.is_none_or(|best| rounded < best);
        self.since += 1;
        if is_best {
            *self = Best { loss: Some(rounded), samples: row.samples as u64, since: 0 };
        }
        is_best
    }
}

impl Records {
    /// The files of a run at `position`: new ones, or those of the resumed run without what was written after that
    /// position.
    pub(super) fn open(
        folder: &RunFolder,
        settings: &Settings,
        position: &Position,
        resumed: bool,
    ) -> Result<Records, TrainError> {
        if !resumed {
            let metrics = Log::create(&folder.metrics(), METRICS_HEADER)?;
            let validations = Log::create(&folder.validation(), VALIDATION_HEADER)?;
            return Ok(Records {
                metrics,
                validations,
                best: Best::default(),
                events: events(folder, settings, None)?,
            });
        }
        let (metrics, rows) = Log::resume(&folder.metrics(), METRICS_HEADER, |step| step <= position.step)?;
        if rows != position.step {
            return Err(TrainError::Rows { path: folder.metrics(), expected: position.step, got: rows });
        }
        // The validation at the checkpoint's step comes after the checkpoint, so it is done again; but for the last one
        // of a run that is lengthened.
        let again = has_reached(settings, position, settings.run.validate_every);
        let keep = |step| step < position.step || (step == position.step && !again);
        let (validations, _) = Log::resume(&folder.validation(), VALIDATION_HEADER, keep)?;
        let mut best = Best::default();
        for row in log::read(&folder.validation())? {
            best.add(&row);
        }
        Ok(Records { metrics, validations, best, events: events(folder, settings, Some(position.step))? })
    }
}

/// TensorBoard's file of this process. What an earlier process wrote from the step `resumed` on is void: the validation
/// of that step is done again, and the step itself is written again here.
fn events(folder: &RunFolder, settings: &Settings, resumed: Option<u64>) -> Result<Events, TrainError> {
    let mut events = Events::create(folder.path(), resumed)?;
    events.settings(resumed.unwrap_or(0), hparams(settings)?)?;
    if let Some([step, _, lr, loss]) = log::read::<[f64; 4]>(&folder.metrics())?.last().copied() {
        events.scalars(step as u64, &[(TRAINING_LOSS, loss as f32), (LEARNING_RATE, lr as f32)])?;
    }
    Ok(events)
}

/// The settings that change results, by their names: what TensorBoard sorts runs by.
fn hparams(settings: &Settings) -> Result<Vec<(String, Hparam)>, SettingsError> {
    let table = toml::Table::try_from(settings)?;
    let sections = ["network", "training"].into_iter().filter_map(|section| table.get(section)?.as_table());
    let named = sections.flatten().chain(table.get_key_value("preset"));
    let value = |value: &toml::Value| match value {
        toml::Value::Integer(number) => Hparam::Number(*number as f64),
        toml::Value::Float(number) => Hparam::Number(*number),
        toml::Value::Boolean(on) => Hparam::Switch(*on),
        other => Hparam::Text(value_text(other)),
    };
    Ok(named.map(|(name, of)| (name.clone(), value(of))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::Losses;
    use std::path::Path;

    #[test]
    fn a_validation_is_read_as_it_was_written() {
        let loss = |all| Losses { all, ..Losses::default() };
        let measures =
            Measures { psnr: Some(21.5), missing_l1: Some(0.125), damaged_psnr: Some(3.0), ..Measures::default() };
        let row = ValidationRow::new(96, &Validation { running: loss(0.25), batch: loss(f64::NAN), measures });
        let text = row.columns(12).join(",");
        assert_eq!(text, "12,96,0.2500000,NaN,21.5000000,,0.1250000,");
        let read = |header: &str, row: &str| {
            let rows: Vec<ValidationRow> = log::parse(Path::new("v.csv"), &format!("{header}\n{row}\n")).unwrap();
            rows[0]
        };
        let again = read(VALIDATION_HEADER, &text);
        assert!(again.batch.is_nan());
        assert_eq!(ValidationRow { batch: 0.0, ..again }, ValidationRow { batch: 0.0, ..row });
        let curves = [
            ("loss/validation_running", 0.25),
            ("loss/validation_batch", 0.5),
            ("measure/psnr", 21.5),
            ("measure/missing_l1", 0.125),
        ];
        assert_eq!(ValidationRow { batch: 0.5, ..row }.scalars(), curves);

        // A table of an earlier version.
        let old = read("step,samples,running,batch", "12,96,0.25,0.5");
        let none = ValidationRow {
            samples: 96.0,
            running: 0.25,
            batch: 0.5,
            psnr: None,
            ssim: None,
            missing_l1: None,
            known_l1: None,
        };
        assert_eq!(old, none);
    }
}
