//! Validates a trained network.

use super::error::ApplyError;
use crate::data;
use crate::settings::Settings;
use crate::system::progress::Counter;
use crate::system::terminal::print_status;
use crate::tasks::Samples;
use crate::train::backend::{self, with_backend};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::plans::Plans;
use crate::validation::{Errors, Preview, ValidateError, Validation, Validator};
use std::cell::RefCell;
use std::path::Path;

/// Validates the network of `settings` with the weights of `checkpoint`. Returns the losses, and where the network
/// errs. Writes `picture`, if there is one, to that file: what the network sees of so many validation images, what it
/// restores, and how they truly are.
///
/// # Errors
/// [`ApplyError`].
pub fn evaluate(
    settings: &Settings,
    checkpoint: &Checkpoint,
    picture: Option<(&Path, usize)>,
) -> Result<(Validation, Errors), ApplyError> {
    let backend = backend::open(&settings.run, &mut print_status)?;
    let data = data::open(&settings.data_request(), &print_status)?;
    let trained_channels = settings.network.out_channels;
    let settings = &settings.with_data(&data)?;
    let [_, samples] = Samples::of(&data, settings.training.size, &settings.training.task);
    let mut plans = Plans::new(settings)?;
    with_backend!(backend, |backend| {
        let mut validator = Validator::new(&mut plans, samples, settings)?;
        let preview = picture
            .map(|(path, images)| Ok::<_, ValidateError>((path, Preview::new(&mut plans, samples, images, true)?)));
        let preview = preview.transpose()?;
        let mut session = plans.session(backend)?;
        let channels = settings.network.out_channels;
        checkpoint::load_weights(&mut session, checkpoint).map_err(|error| match channels == trained_channels {
            true => error.into(),
            false => ApplyError::OtherChannels { images: channels, network: trained_channels },
        })?;
        let batches = 2 * validator.images().div_ceil(settings.training.batch);
        let validation = session.enter(|session| {
            if let Some((path, mut preview)) = preview {
                preview.write(session, path)?;
            }
            let counter = RefCell::new(Counter::new("validating", "batches", batches));
            let validation = validator.validate(session, &|| counter.borrow_mut().advance());
            counter.borrow().finish();
            validation
        })?;
        Ok((validation, validator.errors()))
    })
}
