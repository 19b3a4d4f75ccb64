//! What a run is going to cost, measured on a few of its steps.

use super::run::Pace;
use super::{Prepared, TrainError};
use crate::data::{Dataset, SIDE, TEST_IMAGES};
use crate::settings::Settings;
use crate::system::ranks::Ranks;
use crate::train::device::{self, Compute, with_backend};
use std::time::{Duration, Instant};

/// Size and cost of a run.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Trained parameters.
    pub parameters: usize,
    /// Memory that the plans take, all together, in bytes.
    pub planned_bytes: usize,
    /// Time of the whole run, validations included.
    pub duration: Duration,
}

/// Steps that are timed, the first of which does not count if there is another.
const STEPS: usize = 3;
/// No further step is timed once they took so long.
const LONG: Duration = Duration::from_secs(1);

/// Plans a run and times a few of its steps, on images that are none. Nothing is read or written.
///
/// # Errors
/// [`TrainError`] if there is no such device, the network cannot be made, or memory does not suffice.
pub fn estimate(settings: &Settings) -> Result<Estimate, TrainError> {
    let images = TEST_IMAGES.dims[0] as usize;
    let validation = Dataset::new(vec![0; images * SIDE * SIDE], vec![0; images]);
    let chosen = device::choose((&settings.run).into(), &mut |_| ())?;
    with_backend!(chosen, |backend| measure(backend, settings, &validation))
}

fn measure<B: Compute>(backend: B, settings: &Settings, validation: &Dataset) -> Result<Estimate, TrainError> {
    let Prepared { mut passes, steps, .. } = Prepared::<B::Element>::new(settings, validation, &Ranks::default())?;
    passes.limit_memory(&backend, settings.run.memory_limit)?;
    let parameters = passes.network().parameter_count();
    let mut session = passes.session(backend)?;
    let planned_bytes = session.memory().total();
    session.initialize(settings.training.seed);
    let step = &steps[0];
    let elements = step.images.len() * settings.training.size.pow(2);
    let pixels: Vec<B::Element> = (0..elements).map(|i| B::Element::from((i % 7) as f32 / 7.0)).collect();
    let mut pace = Pace::new(settings, validation.len());
    session.enter(|session| -> engine::Result<()> {
        let begun = Instant::now();
        for _ in 0..STEPS {
            let started = Instant::now();
            let loss = step.train(session, &pixels, &pixels)?;
            pace.stepped(step.batch, started.elapsed(), loss, 0);
            if begun.elapsed() > LONG {
                break;
            }
        }
        Ok(())
    })?;
    Ok(Estimate { parameters, planned_bytes, duration: pace.of_samples(0) })
}
