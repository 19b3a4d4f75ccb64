//! What a run leaves behind at its end: the summary, and the loss curve.

use super::checkpoint::Position;
use super::error::TrainError;
use super::folder::RunFolder;
use super::log;
use super::records::ValidationRow;
use crate::data::Data;
use crate::output::loss_curve;
use crate::output::summary::{EarlyStop, Summary};
use crate::published::Study;
use crate::settings::Settings;
use crate::system::files;
use crate::system::machine::{self, Machine};
use crate::validation::Validation;

/// Steps whose mean is the run's training loss.
const FINAL_STEPS: usize = 100;

/// What a run computed with.
pub(super) struct Resources {
    /// Trained parameters.
    pub(super) parameters: usize,
    /// The backend: `cpu-avx2`.
    pub(super) backend: String,
    /// Its threads, of each rank.
    pub(super) threads: usize,
    /// Number of ranks.
    pub(super) ranks: usize,
    /// Memory of the plans, in bytes.
    pub(super) planned_bytes: usize,
    /// The share of the machine that others used meanwhile, if it is known.
    pub(super) others_share: Option<f64>,
}

/// What a run came to.
pub(super) struct Results {
    /// The last validation.
    pub(super) validation: Validation,
    /// Why it ended before its time, if it did.
    pub(super) early_stop: Option<EarlyStop>,
    /// The study's figures for it.
    pub(super) study: Option<Study>,
}

/// The study's figures for a run, if it is comparable with them.
pub(super) fn study(settings: &Settings, data: &Data) -> Option<Study> {
    Study::of(settings).filter(|_| data.is_fashion_mnist)
}

/// Writes the summary and the loss curve of a run that ended at `position`.
pub(super) fn write_results(
    folder: &RunFolder,
    settings: &Settings,
    position: &Position,
    results: Results,
    resources: Resources,
) -> Result<Summary, TrainError> {
    let rows: Vec<[f64; 4]> = log::read(&folder.metrics())?;
    // Steps that were skipped may have no loss.
    let losses: Vec<f64> = rows.iter().map(|[.., loss]| *loss).filter(|loss| loss.is_finite()).collect();
    let last = &losses[losses.len().saturating_sub(FINAL_STEPS)..];
    let Results { validation, early_stop, study } = results;
    let Resources { parameters, backend, threads, ranks, planned_bytes, others_share } = resources;
    let summary = Summary {
        layers: settings.network.layers,
        parameters,
        steps: position.step,
        samples: position.samples,
        skipped_steps: position.skipped,
        early_stop,
        training_loss: (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64),
        validation,
        minutes: position.seconds / 60.0,
        images_per_second: position.samples as f64 / position.seconds,
        peak_resident_bytes: machine::peak_resident_bytes(),
        planned_bytes,
        device: backend,
        threads,
        ranks,
        others_share,
        machine: Some(Machine::this()),
        study,
    };
    draw_curve(folder, settings, &rows, study)?;
    files::write_json(&folder.summary(), serde_json::to_string_pretty(&summary))?;
    files::remove(&folder.live())?;
    Ok(summary)
}

/// Draws the loss curve of the rows of `metrics.csv`, and of the validations.
pub(super) fn draw_curve(
    folder: &RunFolder,
    settings: &Settings,
    rows: &[[f64; 4]],
    study: Option<Study>,
) -> Result<(), TrainError> {
    let training: Vec<(f64, f64)> = rows.iter().map(|[_, images, _, loss]| (*images, *loss)).collect();
    let validations: Vec<ValidationRow> = log::read(&folder.validation())?;
    let of =
        |loss: fn(&ValidationRow) -> f64| validations.iter().map(|row| (row.samples, loss(row))).collect::<Vec<_>>();
    let published = study.map(|study| study.validation_loss);
    let chart = loss_curve::chart(
        &settings.told(),
        settings.training.loss,
        &training,
        [&of(|row| row.running), &of(|row| row.batch)],
        published,
    );
    files::write_bytes(&folder.curve_png(), &chart.png())?;
    files::write_bytes(&folder.curve_svg(), chart.svg().as_bytes())?;
    Ok(())
}
