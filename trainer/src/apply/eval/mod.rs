//! Validation: the mean L1 loss over the validation images (of Fashion-MNIST, its 10,000 test images), each with its
//! fixed damage, and other measures of how close the restored images are to the true ones.
//!
//! There are two losses. With *running statistics*, as a network is used, the loss of an image does not depend on the
//! others. With *batch statistics*, batch norm normalizes every batch by its own statistics, and the slopes of RReLU
//! are drawn at random (the same ones for every batch and in every validation). That is how the study validated, which
//! was in training mode: the images go in order, in batches of the training's size, and those left over at the end are
//! a smaller batch, as in PyTorch's loops.
//!
//! The loss of an image is the mean over its pixels, in f64. The loss of many is the mean over the images, so that
//! every image counts the same.

mod errors;
mod mean;
mod measure_sums;
mod validator;

pub use errors::{ClassErrors, Errors, HalfErrors};
pub use measure_sums::Measures;
pub(crate) use validator::Validator;
pub use validator::{Losses, ValidateError, Validation};

use super::error::ApplyError;
use crate::data;
use crate::settings::Settings;
use crate::system::progress::Counter;
use crate::system::terminal::print_status;
use crate::tasks::Samples;
use crate::train::backend::{self, with_backend};
use crate::train::checkpoint::{self, Checkpoint};
use crate::train::plans::Plans;
use crate::train::preview::Preview;
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
    let settings = &settings.with_data(&data)?;
    let [_, samples] = Samples::of(&data, settings.training.size, &settings.training.task);
    let mut plans = Plans::new(settings)?;
    with_backend!(backend, |backend| {
        let mut validator = Validator::new(&mut plans, samples, settings)?;
        let preview = picture
            .map(|(path, images)| Ok::<_, ValidateError>((path, Preview::new(&mut plans, samples, images, true)?)));
        let preview = preview.transpose()?;
        let mut session = plans.session(backend)?;
        checkpoint::load_weights(&mut session, checkpoint)?;
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
