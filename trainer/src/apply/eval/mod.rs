//! Validation: the mean L1 loss over the 10,000 test images, each with its fixed missing half.
//!
//! Two figures are computed. With *running statistics*, as a network is used, an image's loss does not depend on the others. With
//! *batch statistics* batch norm normalizes every batch by itself, and the slopes of RReLU are drawn at random (the same for every
//! batch and in every validation), as the study validated, which was in training mode: images go in order in batches of the training's size, and those left over at the end are a smaller batch of their own, as in PyTorch's loops. The loss of an image
//! is the mean over its pixels, in f64; the loss of many is the mean over the images, so that every image counts the same.

mod errors;

pub use errors::{CLASSES, ClassErrors, Errors, HalfErrors};

use crate::data::{self, DataError, Dataset};
use crate::settings::Settings;
use crate::system::progress;
use crate::tasks::{Half, ValidationBatches};
use crate::train::checkpoint::{self, Checkpoint, CheckpointError};
use crate::train::device::{self, Compute, DeviceError, with_backend};
use crate::train::plans::{Kind, Pass, PassError, Passes};
use engine::{Element, Session, Statistics};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a checkpoint cannot be validated.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be made.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The weights do not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// Validates the network of `settings` with the weights of `checkpoint`; and where it errs.
///
/// # Errors
/// [`EvalError`].
pub fn evaluate(settings: &Settings, checkpoint: &Checkpoint) -> Result<(Validation, Errors), EvalError> {
    let chosen = device::choose((&settings.run).into(), &mut progress::say)?;
    let data = data::load(&settings.search(), &|line| progress::say(line))?;
    let mut passes = Passes::new(&settings.network, settings.training.size)?;
    with_backend!(chosen, |backend| {
        let mut validator =
            Validator::new(&mut passes, &data.validation, settings.training.size, settings.training.batch)?;
        let mut session = passes.session(backend)?;
        checkpoint::load_weights(&mut session, checkpoint)?;
        let validation = session.enter(|session| validator.validate(session))?;
        Ok((validation, validator.errors()))
    })
}

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
    pub all: f64,
    /// Over the images that lack this half.
    pub left: f64,
    /// Over the images that lack this half.
    pub right: f64,
    /// Over the images that lack this half.
    pub top: f64,
    /// Over the images that lack this half.
    pub bottom: f64,
}

/// As `resconv eval` prints it: a row for each kind of statistics, a column for each missing half.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20}{:>9}{:>9}{:>9}{:>9}{:>9}", "validation L1", "all", "left", "right", "top", "bottom")?;
        for (name, losses) in [("running statistics", self.running), ("batch statistics", self.batch)] {
            write!(f, "\n{name:<20}")?;
            let Losses { all, left, right, top, bottom } = losses;
            [all, left, right, top, bottom].iter().try_for_each(|loss| write!(f, "{loss:>9.5}"))?;
        }
        Ok(())
    }
}

/// Validates a session's network, as often as wanted.
#[derive(Debug)]
pub struct Validator<'a, E> {
    images: &'a Dataset,
    batches: ValidationBatches<'a>,
    size: usize,
    running: Vec<Pass>,
    batch: Vec<Pass>,
    input: Vec<E>,
    target: Vec<E>,
    output: Vec<E>,
    /// Of the last pass with running statistics.
    errors: errors::Sums,
}

impl<'a, E: Element + From<f32> + Default> Validator<'a, E> {
    /// Adds the passes that validation over `images`, resized to `size`, needs in batches of `batch`.
    ///
    /// # Errors
    /// As [`Passes::add`].
    pub fn new(
        passes: &mut Passes,
        images: &'a Dataset,
        size: usize,
        batch: usize,
    ) -> Result<Validator<'a, E>, PassError> {
        let count = images.len() as u64;
        let running = passes.cover(Kind::Inference(Statistics::Running), batch, count)?;
        let batch_statistics = passes.cover(Kind::Inference(Statistics::Batch), batch, count)?;
        let elements = running.iter().map(|pass| pass.batch).max().unwrap_or(0) * size * size;
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
            errors: errors::Sums::new(size),
        })
    }

    /// Where the network erred in the last validation.
    pub fn errors(&self) -> Errors {
        self.errors.means()
    }

    /// Number of validation images.
    pub fn images(&self) -> usize {
        self.batches.len()
    }

    /// Both losses of the network as it is.
    ///
    /// # Errors
    /// Those of the session.
    pub fn validate<B: Compute<Element = E>>(&mut self, session: &mut Session<B>) -> engine::Result<Validation> {
        Ok(self.validate_unless(session, &|| false)?.expect("nothing stops it"))
    }

    /// As [`validate`](Self::validate); nothing if `stop`, which is asked before every batch, says so.
    ///
    /// # Errors
    /// Those of the session.
    pub fn validate_unless<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        stop: &dyn Fn() -> bool,
    ) -> engine::Result<Option<Validation>> {
        self.errors.clear();
        let Some(running) = self.losses(session, &self.running.clone(), true, stop)? else { return Ok(None) };
        let batch = self.losses(session, &self.batch.clone(), false, stop)?;
        Ok(batch.map(|batch| Validation { running, batch }))
    }

    fn losses<B: Compute<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        passes: &[Pass],
        tells_errors: bool,
        stop: &dyn Fn() -> bool,
    ) -> engine::Result<Option<Losses>> {
        let pixels = self.size * self.size;
        let mut halves = [Mean::default(); 4];
        let mut first = 0;
        // The first pass takes the full batches; what is left is exactly the batch of the second.
        while let Some(pass) = passes.iter().find(|pass| first + pass.batch <= self.batches.len()) {
            if stop() {
                return Ok(None);
            }
            let elements = pass.batch * pixels;
            let (input, target) = (&mut self.input[..elements], &mut self.target[..elements]);
            let output = &mut self.output[..elements];
            self.batches.fill(first, input, target);
            pass.infer(session, input, output)?;
            for (n, (output, target)) in output.chunks(pixels).zip(target.chunks(pixels)).enumerate() {
                let half = Half::of_validation_image(first + n);
                let loss = l1(output, target);
                halves[half as usize].add(loss);
                if tells_errors {
                    self.errors.add(half, self.images.label(first + n), loss, output, target);
                }
            }
            first += pass.batch;
        }
        let all = halves.iter().fold(Mean::default(), |a, b| Mean { sum: a.sum + b.sum, count: a.count + b.count });
        let [left, right, top, bottom] = halves.map(Mean::get);
        Ok(Some(Losses { all: all.get(), left, right, top, bottom }))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// The mean; of nothing, 0.
    fn get(self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

/// Mean absolute difference.
fn l1<E: Element>(a: &[E], b: &[E]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (a.to_f64() - b.to_f64()).abs()).sum::<f64>() / a.len() as f64
}
