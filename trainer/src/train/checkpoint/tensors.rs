//! Between a session's tensors and a checkpoint's.

use super::error::{CheckpointError, Problem};
use super::file::{Checkpoint, Position, Tensor, Values};
use engine::{Backend, Element, Session, TensorInfo, pytorch};
use std::collections::BTreeMap;

const FIRST_MOMENT: &str = "optimizer.exp_avg.";
const SECOND_MOMENT: &str = "optimizer.exp_avg_sq.";
const OPTIMIZER: &str = "optimizer.";

/// The network's tensors, as in PyTorch's `state_dict`. `batches` is the value of every `num_batches_tracked`: the
/// number of steps that the running statistics have seen.
///
/// # Errors
/// Those of the session, none of which a session of one network gives.
pub(crate) fn state_dict<B: Backend>(
    session: &Session<B>,
    batches: u64,
) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    let mut tensors = BTreeMap::new();
    for info in session.tensors() {
        tensors.insert(info.name.clone(), to_pytorch(info, &session.tensor(&info.name)?));
        if let Some(name) = counter_name(info) {
            tensors.insert(name, Tensor { shape: Vec::new(), values: Values::I64(vec![batches as i64]) });
        }
    }
    Ok(tensors)
}

/// The optimizer's moments, by the names that a checkpoint has them under.
pub(crate) fn optimizer_state<B: Backend>(session: &Session<B>) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    let mut tensors = BTreeMap::new();
    for info in session.tensors().iter().filter(|info| info.trained) {
        let [first, second] = session.optimizer_state(&info.name)?;
        tensors.insert(format!("{FIRST_MOMENT}{}", info.name), to_pytorch(info, &first));
        tensors.insert(format!("{SECOND_MOMENT}{}", info.name), to_pytorch(info, &second));
    }
    Ok(tensors)
}

/// Sets every parameter and state of `session`. Returns the number of batches that the running statistics have seen:
/// the largest `num_batches_tracked`, or 0 if there is none, as in files of old versions of PyTorch.
///
/// # Errors
/// [`CheckpointError`] naming the tensor that is missing, unexpected, or of another shape or type. The session is
/// unchanged then.
pub(crate) fn load_weights<B: Backend>(
    session: &mut Session<B>,
    checkpoint: &Checkpoint,
) -> Result<u64, CheckpointError> {
    let infos = session.tensors().to_vec();
    let mut known: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
    let mut batches = 0;
    for name in infos.iter().filter_map(counter_name) {
        if let Some(tensor) = checkpoint.tensors.get(&name) {
            match &tensor.values {
                Values::I64(values) if tensor.shape.is_empty() => batches = batches.max(values[0].max(0) as u64),
                Values::I64(_) => return Err(checkpoint.shape_error(&name, &[], tensor)),
                _ => return Err(checkpoint.type_error(&name, "I64", tensor)),
            }
        }
        known.push(name);
    }
    known.sort_unstable();
    let unexpected = |name: &&String| !name.starts_with(OPTIMIZER) && known.binary_search(name).is_err();
    // Missing tensors are named first, because that is the clearer message for a checkpoint of another depth. All
    // tensors are checked before any is set.
    let values: Result<Vec<_>, _> = infos.iter().map(|info| checkpoint.floats(&info.name, info)).collect();
    let values = values?;
    if let Some(name) = checkpoint.tensors.keys().find(unexpected) {
        return Err(Problem::OtherNetwork(format!("the network has no tensor `{name}`")).of(&checkpoint.path));
    }
    for (info, values) in infos.iter().zip(values) {
        session.set_tensor(&info.name, &values)?;
    }
    Ok(batches)
}

/// Sets the optimizer's moments of `session`, and that it has taken `step` steps.
pub(super) fn load_optimizer<B: Backend>(
    session: &mut Session<B>,
    checkpoint: &Checkpoint,
    step: u64,
) -> Result<(), CheckpointError> {
    for info in session.tensors().to_vec().iter().filter(|info| info.trained) {
        let first = checkpoint.floats(&format!("{FIRST_MOMENT}{}", info.name), info)?;
        let second = checkpoint.floats(&format!("{SECOND_MOMENT}{}", info.name), info)?;
        session.set_optimizer_state(&info.name, [&first, &second])?;
    }
    session.set_optimizer_step(step);
    Ok(())
}

/// Sets weights, states and the optimizer of `session` as they were in the run of the checkpoint. Returns the position
/// of the run, and the number of batches that the running statistics had seen before the run.
///
/// # Errors
/// As [`load_weights`], or if it cannot be resumed.
pub(crate) fn load_run<B: Backend>(
    session: &mut Session<B>,
    checkpoint: &Checkpoint,
) -> Result<(Position, u64), CheckpointError> {
    let position = checkpoint.resumable()?.1.clone();
    let batches = load_weights(session, checkpoint)?;
    load_optimizer(session, checkpoint, position.updates())?;
    let before = batches.saturating_sub(position.updates());
    Ok((position, before))
}

impl Checkpoint {
    /// The tensor `name` in the engine's layout, if it has the shape of `info`.
    fn floats<E: Element>(&self, name: &str, info: &TensorInfo) -> Result<Vec<E>, CheckpointError> {
        let dims = info.shape.dims();
        let expected = pytorch::weight_shape(dims);
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Problem::OtherNetwork(format!("no tensor `{name}` of shape {expected:?}")).of(&self.path));
        };
        if tensor.shape != expected {
            return Err(self.shape_error(name, &expected, tensor));
        }
        let values: Vec<E> = match &tensor.values {
            Values::F32(values) => values.iter().map(|&x| E::from_f64(f64::from(x))).collect(),
            Values::F64(values) => values.iter().map(|&x| E::from_f64(x)).collect(),
            Values::I64(_) => return Err(self.type_error(name, "F32 or F64", tensor)),
        };
        Ok(pytorch::weight_from_pytorch(dims, &values))
    }

    fn shape_error(&self, name: &str, expected: &[usize], tensor: &Tensor) -> CheckpointError {
        let got = &tensor.shape;
        Problem::OtherNetwork(format!("tensor `{name}`: expected shape {expected:?}, got {got:?}")).of(&self.path)
    }

    fn type_error(&self, name: &str, expected: &'static str, tensor: &Tensor) -> CheckpointError {
        Problem::Type { name: name.to_owned(), expected, got: tensor.values.to_string() }.of(&self.path)
    }
}

/// The tensor in PyTorch's layout: F32, or F64 if the backend computes in f64.
fn to_pytorch<E: Element>(info: &TensorInfo, values: &[E]) -> Tensor {
    let dims = info.shape.dims();
    let values = pytorch::weight_to_pytorch(dims, values);
    let values = if size_of::<E>() == size_of::<f64>() {
        Values::F64(values.into_iter().map(E::to_f64).collect())
    } else {
        Values::F32(values.into_iter().map(|x| x.to_f64() as f32).collect())
    };
    Tensor { shape: pytorch::weight_shape(dims), values }
}

/// The name of PyTorch's count of batches for a running mean.
fn counter_name(info: &TensorInfo) -> Option<String> {
    info.name.strip_suffix("running_mean").map(|prefix| format!("{prefix}num_batches_tracked"))
}
