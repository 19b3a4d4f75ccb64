//! Validation of the network of a session.

use super::errors::{ErrorSums, Errors};
use super::mean::Mean;
use crate::data::Dataset;
use crate::system::json;
use crate::tasks::{Half, ValidationBatches};
use crate::train::backend::ImageBackend;
use crate::train::plans::{NetworkPlan, PlanError, PlanKind, Plans};
use engine::{Element, Session, Statistics};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Both validation losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// With running statistics.
    pub running: Losses,
    /// With the statistics of each batch.
    pub batch: Losses,
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

/// As `resconv eval` prints it: a row for each kind of statistics, a column for each missing half, with a dash where no
/// image lacks it.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}{:>9}{:>9}{:>9}{:>9}{:>9}", "validation L1", "all", "left", "right", "top", "bottom")?;
        for (name, losses) in [("running statistics", self.running), ("batch statistics", self.batch)] {
            write!(f, "\n{name:<20}")?;
            let Losses { all, left, right, top, bottom } = losses;
            [Some(all), left, right, top, bottom].iter().try_for_each(|loss| match loss {
                Some(loss) => write!(f, "{loss:>9.5}"),
                None => write!(f, "{:>9}", "-"),
            })?;
        }
        Ok(())
    }
}

/// Validates the network of a session, again and again.
#[derive(Debug)]
pub(crate) struct Validator<'a, E> {
    images: &'a Dataset,
    batches: ValidationBatches<'a>,
    size: usize,
    /// The plans with running statistics.
    running: Vec<NetworkPlan>,
    /// Those with the statistics of each batch.
    batch: Vec<NetworkPlan>,
    input: Vec<E>,
    target: Vec<E>,
    output: Vec<E>,
    /// The errors of the last validation, with running statistics.
    errors: ErrorSums,
}

impl<'a, E: Element + From<f32> + Default> Validator<'a, E> {
    /// Adds the plans that a validation over `images`, resized to `size`, needs in batches of `batch`.
    pub(crate) fn new(
        plans: &mut Plans,
        images: &'a Dataset,
        size: usize,
        batch: usize,
    ) -> Result<Validator<'a, E>, PlanError> {
        let count = images.len() as u64;
        let running = plans.cover(PlanKind::Inference(Statistics::Running), batch, count)?;
        let batch_statistics = plans.cover(PlanKind::Inference(Statistics::Batch), batch, count)?;
        let elements = running.iter().map(|plan| plan.batch).max().unwrap_or(0) * size * size;
        let buffer = || vec![E::default(); elements];
        Ok(Validator {
            images,
            batches: ValidationBatches::new(images, size),
            size,
            running,
            batch: batch_statistics,
            input: buffer(),
            target: buffer(),
            output: buffer(),
            errors: ErrorSums::new(size),
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

    /// Both losses of the network as it is now.
    pub(crate) fn validate<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
    ) -> engine::Result<Validation> {
        Ok(self.validate_unless(session, &|| false)?.expect("nothing stops it"))
    }

    /// As [`validate`](Self::validate). `stop` is asked before every batch; if it returns true, the result is `None`.
    pub(crate) fn validate_unless<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        stop: &dyn Fn() -> bool,
    ) -> engine::Result<Option<Validation>> {
        self.errors.clear();
        let Some(running) = self.losses(session, &self.running.clone(), true, stop)? else { return Ok(None) };
        let batch = self.losses(session, &self.batch.clone(), false, stop)?;
        Ok(batch.map(|batch| Validation { running, batch }))
    }

    fn losses<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        plans: &[NetworkPlan],
        records_errors: bool,
        stop: &dyn Fn() -> bool,
    ) -> engine::Result<Option<Losses>> {
        let pixels = self.size * self.size;
        let mut halves = [Mean::default(); 4];
        let mut first = 0;
        // The first plan takes the full batches. The images that are left are exactly the batch of the second one.
        while let Some(plan) = plans.iter().find(|plan| first + plan.batch <= self.batches.len()) {
            if stop() {
                return Ok(None);
            }
            let elements = plan.batch * pixels;
            let (input, target) = (&mut self.input[..elements], &mut self.target[..elements]);
            let output = &mut self.output[..elements];
            self.batches.fill(first, input, target);
            plan.infer(session, input, output)?;
            for (n, (output, target)) in output.chunks(pixels).zip(target.chunks(pixels)).enumerate() {
                let half = Half::of_validation_image(first + n);
                let loss = l1(output, target);
                halves[half as usize].add(loss);
                if records_errors {
                    self.errors.add(half, self.images.label(first + n), loss, output, target);
                }
            }
            first += plan.batch;
        }
        let all = halves.iter().fold(Mean::default(), |all, half| all.with(*half));
        let [left, right, top, bottom] = halves.map(Mean::get);
        Ok(Some(Losses { all: all.get().unwrap_or(f64::NAN), left, right, top, bottom }))
    }
}

/// Mean absolute difference.
fn l1<E: Element>(a: &[E], b: &[E]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (a.to_f64() - b.to_f64()).abs()).sum::<f64>() / a.len() as f64
}
