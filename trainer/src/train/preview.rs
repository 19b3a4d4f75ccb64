//! The run's picture: the first validation images, as the network sees them and as it restores them.

use super::backend::{ImageBackend, to_pixels};
use super::error::TrainError;
use super::plans::{NetworkPlan, PlanError, PlanKind, Plans};
use crate::data::Dataset;
use crate::output::picture::{Layout, Reconstructions};
use crate::system::files::FileError;
use crate::tasks::ValidationBatches;
use engine::{Element, Session, Statistics};
use std::path::Path;

/// Images of the picture: four groups of rows of eight.
const IMAGES: usize = 32;

/// Draws the picture again and again.
#[derive(Debug)]
pub(super) struct Preview<E> {
    plan: NetworkPlan,
    size: usize,
    input: Vec<E>,
    output: Vec<E>,
    truth: Vec<E>,
    with_truth: bool,
}

impl<E: Element + From<f32> + Default> Preview<E> {
    /// Adds the plan that the picture needs, over the first of `images`, resized to `size`.
    pub(super) fn new(
        plans: &mut Plans,
        images: &Dataset,
        size: usize,
        with_truth: bool,
    ) -> Result<Preview<E>, PlanError> {
        let count = images.len().min(IMAGES);
        let plan = plans.add(PlanKind::Inference(Statistics::Running), count)?;
        let buffer = || vec![E::default(); count * size * size];
        let (mut input, mut truth) = (buffer(), buffer());
        ValidationBatches::new(images, size).fill(0, &mut input, &mut truth);
        Ok(Preview { plan, size, input, output: buffer(), truth, with_truth })
    }

    /// Writes the picture of the network as it is.
    pub(super) fn write<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        path: &Path,
    ) -> Result<(), TrainError> {
        self.plan.infer(session, &self.input, &mut self.output)?;
        let [input, output, truth] = [&self.input, &self.output, &self.truth].map(|pixels| to_pixels(pixels));
        let truth = self.with_truth.then_some(&truth[..]);
        let picture = Reconstructions { size: self.size, input: &input, output: &output, truth };
        picture.save(path, Layout::default()).map_err(FileError::into)
    }
}
