//! The run's picture: the first validation images, as the network sees them and as it restores them.

use super::validator::ValidateError;
use crate::output::picture::{Layout, Reconstructions};
use crate::tasks::{Samples, ValidationBatches};
use crate::train::backend::{ImageBackend, to_pixels};
use crate::train::plans::{NetworkPlan, PlanKind, Plans};
use engine::{Element, Session, Statistics};
use std::path::Path;

/// Draws the picture again and again.
#[derive(Debug)]
pub(crate) struct Preview<E> {
    plan: NetworkPlan,
    size: usize,
    /// Channels of the damaged images, and of the restored ones.
    channels: [usize; 2],
    input: Vec<E>,
    /// The damaged images.
    shown: Vec<E>,
    output: Vec<E>,
    truth: Vec<E>,
    with_truth: bool,
}

impl<E: Element + From<f32> + Default> Preview<E> {
    /// Adds the plan that the picture needs, over `images` of the validation samples, or all if there are fewer.
    pub(crate) fn new(
        plans: &mut Plans,
        samples: Samples<'_>,
        images: usize,
        with_truth: bool,
    ) -> Result<Preview<E>, ValidateError> {
        let batches = ValidationBatches::shown(samples, images as u64);
        let count = batches.len();
        let plan = plans.add(PlanKind::Inference(Statistics::Running), count)?;
        let [mut input, mut truth] = samples.elements().map(|elements| vec![E::default(); count * elements]);
        let mut known = vec![true; count * samples.size * samples.size];
        batches.fill(0, &mut input, &mut truth, &mut known)?;
        let output = truth.clone();
        let whole = samples.images.channels();
        let channels = [samples.task.damaged_channels(whole), whole];
        let shown = samples.task.damaged_pixels(&input, whole).into_owned();
        Ok(Preview { plan, size: samples.size, channels, input, shown, output, truth, with_truth })
    }

    /// Writes the picture of the network as it is.
    pub(crate) fn write<B: ImageBackend<Element = E>>(
        &mut self,
        session: &mut Session<B>,
        path: &Path,
    ) -> Result<(), ValidateError> {
        self.plan.infer(session, &self.input, &mut self.output)?;
        let [input, output, truth] = [&self.shown, &self.output, &self.truth].map(|pixels| to_pixels(pixels));
        let truth = self.with_truth.then_some(&truth[..]);
        let picture =
            Reconstructions { size: self.size, channels: self.channels, input: &input, output: &output, truth };
        Ok(picture.save(path, Layout::of_images(self.size))?)
    }
}
