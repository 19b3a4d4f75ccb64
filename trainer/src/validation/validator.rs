//! Validation of the network of a session.

use super::errors::{ErrorSums, Errors};
use super::mean::Mean;
use super::measure_sums::{MeasureSums, Measures};
use crate::data::{DataError, Dataset, Fit};
use crate::settings::Settings;
use crate::system::files::FileError;
use crate::system::json;
use crate::tasks::{Half, Samples, ValidationBatches};
use crate::train::backend::ImageBackend;
use crate::train::plans::{NetworkPlan, PlanError, PlanKind, Plans};
use engine::{Element, Session, Statistics};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Both validation losses, and how close the restored images are to the true ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// With running statistics.
    pub running: Losses,
    /// With the statistics of each batch.
    pub batch: Losses,
    /// Other measures, with running statistics; absent in what earlier versions wrote.
    #[serde(default)]
    pub measures: Measures,
}

/// A loss, and what it is for each missing half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Over all images.
    #[serde(deserialize_with = "json::null_is_nan")]
    pub all: f64,
    /// Over the images that lack this half, if there are any.
    pub left: Option<f64>,
    /// Over the images that lack this half, if there are any.
    pub right: Option<f64>,
    /// Over the images that lack this half, if there are any.
    pub top: Option<f64>,
    /// Over the images that lack this half, if there are any.
    pub bottom: Option<f64>,
}

impl Losses {
    /// For each missing half, in the order of [`Half::ALL`].
    fn halves(&self) -> [Option<f64>; 4] {
        [self.left, self.right, self.top, self.bottom]
    }
}

/// As `resconv eval` prints it: a row for each kind of statistics and each measure. If images lack halves, there is a
/// column for each half, with a dash where no image lacks it.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_halves = [self.running, self.batch].iter().flat_map(Losses::halves).any(|loss| loss.is_some());
        write!(f, "{:<20}{:>9}", "validation L1", "all")?;
        if has_halves {
            Half::ALL.iter().try_for_each(|half| write!(f, "{:>9}", half.to_string()))?;
        }
        for (name, losses) in [("running statistics", self.running), ("batch statistics", self.batch)] {
            write!(f, "\n{name:<20}{:>9.5}", losses.all)?;
            losses.halves().iter().filter(|_| has_halves).try_for_each(|loss| match loss {
                Some(loss) => write!(f, "{loss:>9.5}"),
                None => write!(f, "{:>9}", "-"),
            })?;
        }
        self.measures.shown().iter().try_for_each(|(name, value)| write!(f, "\n{name:<22}{value}"))
    }
}

/// A validation cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// An image cannot be read any more.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A plan of the network cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The picture cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Validates the network of a session, again and again.
#[derive(Debug)]
pub(crate) struct Validator<'a, E> {
    images: &'a Dataset,
    batches: ValidationBatches<'a>,
    samples: Samples<'a>,
    /// The plans with running statistics.
    running: Vec<NetworkPlan>,
    /// Those with the statistics of each batch.
    batch: Vec<NetworkPlan>,
    input: Vec<E>,
    target: Vec<E>,
    output: Vec<E>,
    known: Vec<bool>,
    measures: MeasureSums,
    /// The errors of the last validation, with running statistics.
    errors: ErrorSums,
}

impl<'a, E: Element + From<f32> + Default> Validator<'a, E> {
    /// Adds the plans that a validation with `samples` needs.
    pub(crate) fn new(
        plans: &mut Plans,
        samples: Samples<'a>,
        settings: &Settings,
    ) -> Result<Validator<'a, E>, PlanError> {
        let batch = settings.training.batch;
        let most = settings.run.validate_images.unwrap_or(if samples.fit == Fit::Crop { 1024 } else { 10_000 });
        let batches = ValidationBatches::new(samples, most);
        let count = batches.len() as u64;
        let running = plans.cover(PlanKind::Inference(Statistics::Running), batch, count)?;
        let batch_statistics = plans.cover(PlanKind::Inference(Statistics::Batch), batch, count)?;
        let largest = running.iter().map(|plan| plan.batch).max().unwrap_or(0);
        let [input, target] = samples.elements().map(|elements| vec![E::default(); largest * elements]);
        Ok(Validator {
            images: samples.images,
            batches,
            samples,
            running,
            batch: batch_statistics,
            input,
            output: target.clone(),
            target,
            known: vec![true; largest * samples.size * samples.size],
            measures: MeasureSums::default(),
            errors: ErrorSums::new(samples.size),
        })
    }

    /// Where the network erred in the last validation.
    pub(crate) fn errors(&self) -> Errors {
        self.errors.means(|class| self.images.class_name(class))
    }

    /// Number of validation images.
    pub(crate) fn images(&self) -> usize {
        self.batches.len()
    }

    /// Both losses of the network as it is now. `progress` is called before every batch.
    pub(crate) fn validate<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        progress: &dyn Fn(),
    ) -> Result<Validation, ValidateError> {
        let never = || {
            progress();
            false
        };
        Ok(self.validate_unless(session, &never)?.expect("nothing stops it"))
    }

    /// As [`validate`](Self::validate). `stop` is asked before every batch; if it returns true, the result is `None`.
    pub(crate) fn validate_unless<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Validation>, ValidateError> {
        self.errors.clear();
        self.measures = MeasureSums::default();
        let Some(running) = self.losses(session, &self.running.clone(), true, stop)? else { return Ok(None) };
        let batch = self.losses(session, &self.batch.clone(), false, stop)?;
        Ok(batch.map(|batch| Validation { running, batch, measures: self.measures.means() }))
    }

    fn losses<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        plans: &[NetworkPlan],
        is_running: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Losses>, ValidateError> {
        let [damaged, whole] = self.samples.elements();
        let pixels = self.samples.size * self.samples.size;
        let is_half_crop = self.samples.task.is_half_crop();
        let mut all = Mean::default();
        let mut halves = [Mean::default(); 4];
        let mut first = 0;
        // The first plan takes the full batches. The images that are left are exactly the batch of the second one.
        while let Some(plan) = plans.iter().find(|plan| first + plan.batch <= self.batches.len()) {
            if stop() {
                return Ok(None);
            }
            let (input, target) = (&mut self.input[..plan.batch * damaged], &mut self.target[..plan.batch * whole]);
            let output = &mut self.output[..plan.batch * whole];
            let known = &mut self.known[..plan.batch * pixels];
            self.batches.fill(first, input, target, known)?;
            plan.infer(session, input, output)?;
            for (n, (output, target)) in output.chunks(whole).zip(target.chunks(whole)).enumerate() {
                let place = self.batches.place(first + n);
                let half = is_half_crop.then(|| Half::of_validation_image(place as usize));
                let loss = l1(output, target);
                match half {
                    Some(half) => halves[half as usize].add(loss),
                    None => all.add(loss),
                }
                if is_running {
                    let class = self.images.label(self.batches.image(first + n));
                    self.errors.add(half, class, loss, output, target);
                    let known = &known[n * pixels..][..pixels];
                    self.measures.add(&self.samples, [&input[n * damaged..][..damaged], output, target], known);
                }
            }
            first += plan.batch;
        }
        let all = halves.iter().fold(all, |all, half| all.with(*half));
        let [left, right, top, bottom] = halves.map(Mean::get);
        Ok(Some(Losses { all: all.get().unwrap_or(f64::NAN), left, right, top, bottom }))
    }
}

/// Mean absolute difference.
fn l1<E: Element>(a: &[E], b: &[E]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (a.to_f64() - b.to_f64()).abs()).sum::<f64>() / a.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_measures_are_printed_if_there_are_any() {
        let [running, batch] = [0.125, 0.25].map(|all| Losses { all, ..Losses::default() });
        let mut validation = Validation { running, batch, measures: Measures::default() };
        assert_eq!(
            validation.to_string(),
            "validation L1             all\nrunning statistics    0.12500\nbatch statistics      0.25000"
        );
        validation.running.top = Some(0.5);
        validation.measures = Measures { psnr: Some(21.456), missing_l1: Some(0.25), ..Measures::default() };
        assert_eq!(
            validation.to_string(),
            "validation L1             all     left    right      top   bottom\n\
             running statistics    0.12500        -        -  0.50000        -\n\
             batch statistics      0.25000        -        -        -        -\n\
             PSNR                  21.46 dB\nmissing L1            0.25000"
        );
        validation.measures =
            Measures { psnr: Some(30.0), damaged_psnr: Some(20.25), ssim: Some(0.9), ..Measures::default() };
        let text = validation.to_string();
        assert!(
            text.ends_with("\nPSNR                  30.00 dB (damaged: 20.25 dB)\nSSIM                  0.9000"),
            "{text}"
        );
    }
}
