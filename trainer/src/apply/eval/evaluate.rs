//! Validation of a checkpoint.

use super::errors::Errors;
use super::validator::{Validation, Validator};
use crate::data::{self, DataError};
use crate::settings::Settings;
use crate::system::terminal::print_status;
use crate::train::backend::{self, DeviceError, with_backend};
use crate::train::checkpoint::{self, Checkpoint, CheckpointError};
use crate::train::plans::{PlanError, Plans};

/// Why a checkpoint cannot be validated.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no dataset.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The weights do not fit the network.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// Validates the network of `settings` with the weights of `checkpoint`. Returns the losses, and where the network
/// errs.
///
/// # Errors
/// [`EvalError`].
pub fn evaluate(settings: &Settings, checkpoint: &Checkpoint) -> Result<(Validation, Errors), EvalError> {
    let backend = backend::open(&settings.run, &mut print_status)?;
    let data = data::load(&settings.search(), &print_status)?;
    let mut plans = Plans::new(&settings.network, settings.training.size)?;
    with_backend!(backend, |backend| {
        let mut validator =
            Validator::new(&mut plans, &data.validation, settings.training.size, settings.training.batch)?;
        let mut session = plans.session(backend)?;
        checkpoint::load_weights(&mut session, checkpoint)?;
        let validation = session.enter(|session| validator.validate(session))?;
        Ok((validation, validator.errors()))
    })
}
