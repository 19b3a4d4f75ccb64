//! What a run writes at every step and validation: the tables, and the events for TensorBoard.

use super::checkpoint::Position;
use super::error::TrainError;
use super::folder::RunFolder;
use super::log::{self, Log};
use crate::output::tensorboard::Events;

const METRICS_HEADER: &str = "step,samples,lr,loss";
const VALIDATION_HEADER: &str = "step,samples,running,batch";

/// The names of the curves in TensorBoard.
pub(super) const TRAINING_LOSS: &str = "loss/training";
pub(super) const LEARNING_RATE: &str = "learning_rate";

/// The files of a run that grow with it.
pub(super) struct Records {
    /// A row a step.
    pub(super) metrics: Log,
    /// A row a validation.
    pub(super) validations: Log,
    /// The lowest validation loss so far, with running statistics.
    pub(super) best: Option<f64>,
    /// The same for TensorBoard, and the pictures.
    pub(super) events: Events,
}

impl Records {
    /// The files of a run at `position`: new ones, or those of the resumed run without what was written after that
    /// position.
    pub(super) fn open(folder: &RunFolder, position: &Position, resumed: bool) -> Result<Records, TrainError> {
        if !resumed {
            let metrics = Log::create(&folder.metrics(), METRICS_HEADER)?;
            let validations = Log::create(&folder.validation(), VALIDATION_HEADER)?;
            return Ok(Records { metrics, validations, best: None, events: events(folder, None)? });
        }
        let (metrics, rows) = Log::resume(&folder.metrics(), METRICS_HEADER, |step| step <= position.step)?;
        if rows != position.step {
            return Err(TrainError::Rows { path: folder.metrics(), expected: position.step, got: rows });
        }
        // The validation at the checkpoint's step comes after the checkpoint, so it is done again.
        let (validations, _) = Log::resume(&folder.validation(), VALIDATION_HEADER, |step| step < position.step)?;
        let rows = log::read::<4>(&folder.validation())?;
        let best = rows.iter().map(|[_, _, running, _]| *running).filter(|loss| loss.is_finite()).reduce(f64::min);
        Ok(Records { metrics, validations, best, events: events(folder, Some(position.step))? })
    }
}

/// TensorBoard's file of this process. What an earlier process wrote from the step `resumed` on is void: the validation
/// of that step is done again, and the step itself is written again here.
fn events(folder: &RunFolder, resumed: Option<u64>) -> Result<Events, TrainError> {
    let mut events = Events::create(folder.path(), resumed)?;
    if let Some([step, _, lr, loss]) = log::read::<4>(&folder.metrics())?.last().copied() {
        events.scalars(step as u64, &[(TRAINING_LOSS, loss as f32), (LEARNING_RATE, lr as f32)])?;
    }
    Ok(events)
}
