//! Saves and loads a session's tensors and optimizer state.

use super::Session;
use super::tensor_file::{self, Tensor, Tensors};
use crate::regions::{AVERAGES, FIRST_MOMENTS, SECOND_MOMENTS};
use crate::{Error, Result, Shape, TensorInfo};
use kernels::{Backend, Element, Region, Span};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

/// What a checkpoint has of a trained parameter besides itself, and what the names of these tensors begin with.
const MOMENTS: [(&str, Region); 2] = [("optimizer.exp_avg.", FIRST_MOMENTS), ("optimizer.exp_avg_sq.", SECOND_MOMENTS)];
const AVERAGE: (&str, Region) = ("average.", AVERAGES);

/// The whole numbers of a checkpoint: optimizer steps, training runs, seed.
const NUMBERS: [&str; 3] = ["session.optimizer_step", "session.training_runs", "session.seed"];

/// A tensor of a file, and where the session has it.
struct Slot {
    name: String,
    shape: Shape,
    place: Span,
}

/// Files of weights, and checkpoints. They are in the safetensors format, with tensors in [PyTorch's
/// layouts](crate::pytorch), as F32, or F64 from [`Reference`](crate::Reference). F16, BF16, F32 and F64 can be loaded,
/// also values that are not finite.
///
/// | tensor of a checkpoint | what it is |
/// | --- | --- |
/// | `NAME` | parameter or state, by its name |
/// | `optimizer.exp_avg.NAME` and `optimizer.exp_avg_sq.NAME` | [optimizer state](Session::optimizer_state) of it |
/// | `average.NAME` | [average](Session::average) of it, if the session keeps averages |
/// | `session.optimizer_step`, `session.training_runs`, `session.seed` | whole numbers, U64 |
///
/// Only trained parameters have the second and third row. Weights have only the first. The metadata entry
/// `engine.checksum` is verified if it is there, so that a damaged file is found.
///
/// A file is written whole or not at all; a file that was there before is replaced at the end. The same tensors give
/// the same bytes.
impl<B: Backend> Session<B> {
    /// Writes every parameter and state to a file, which PyTorch reads with
    /// `load_state_dict(safetensors.torch.load_file(path))`. While averages are [in the place of the
    /// parameters](Self::swap_averages), they are written.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), &self.weights_to_bytes()?)
    }

    /// Writes to a file all that it takes to continue training with the same bits: parameters, states, optimizer state,
    /// averages, numbers of steps and runs, and the seed of random numbers.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written. Also if training steps have been started and not
    /// [finished](Self::finish_steps), there are [accumulated](Self::accumulate) gradients, averages are in the place
    /// of the parameters, or two tensors would have one name.
    pub fn save_checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), &self.checkpoint_to_bytes()?)
    }

    /// Sets every parameter and state to those in a file: weights, a checkpoint, or a PyTorch `state_dict` in the
    /// safetensors format. Optimizer state stays; averages become the parameters. A checkpoint's optimizer state and
    /// averages, and PyTorch's `num_batches_tracked`, are left aside.
    ///
    /// For a PyTorch `Linear` behind a flatten, call this and then put the features in order:
    ///
    /// ```
    /// # use engine::*;
    /// # fn reorder(session: &mut Session<Cpu>) -> Result<()> {
    /// // [K, C H W] of PyTorch, for images of 4 x 4 pixels and 16 channels, and 10 outputs
    /// let weight = pytorch::weight_to_pytorch(&[256, 10], &session.tensor("fc.weight")?);
    /// session.set_tensor("fc.weight", &flattened_linear_weight(&weight, [4, 4, 16], 10)?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, is damaged, a tensor is missing, or has another shape or type, or
    /// there is one that the session does not have. The session is unchanged then.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (file, bytes) = read(path.as_ref())?;
        self.set_weights(&file, &bytes)
    }

    /// Sets all that a [checkpoint](Self::save_checkpoint) has, from a file. Inputs stay, and
    /// [`initialize`](Self::initialize) need not be called. [`finish_steps`](Self::finish_steps) will not report
    /// training steps started before.
    ///
    /// # Errors
    /// As [`load_weights`](Self::load_weights). The session must have the same trained parameters as that which was
    /// saved, and keep averages if that did.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (file, bytes) = read(path.as_ref())?;
        self.set_checkpoint(&file, &bytes)
    }

    /// The content of the file that [`save_weights`](Self::save_weights) writes.
    ///
    /// # Errors
    /// [`Error::File`] if there are too many tensors for the format.
    pub fn weights_to_bytes(&self) -> Result<Vec<u8>> {
        encode("weights", &self.tensors_at(self.weights()))
    }

    /// The content of the file that [`save_checkpoint`](Self::save_checkpoint) writes.
    ///
    /// # Errors
    /// As [`save_checkpoint`](Self::save_checkpoint), without those of files.
    pub fn checkpoint_to_bytes(&self) -> Result<Vec<u8>> {
        self.check_swapped()?;
        self.check_nothing_accumulated()?;
        if !self.steps_ahead.is_empty() {
            return Err(Error::NotFinished { steps: self.steps_ahead.len() });
        }
        let slots: Vec<Slot> = self.weights().chain(self.of_trained()).collect();
        let mut names: HashSet<&str> = NUMBERS.into();
        if let Some(twice) = slots.iter().find(|slot| !names.insert(&slot.name)) {
            return Err(file_error("checkpoint", format!("two tensors would be named `{}`", twice.name)));
        }
        let mut tensors = self.tensors_at(slots.into_iter());
        let numbers = [self.optimizer_step, self.training_runs, self.seed];
        for (name, number) in NUMBERS.into_iter().zip(numbers) {
            tensors.insert(name.to_owned(), Tensor::of_number(number));
        }
        encode("checkpoint", &tensors)
    }

    /// As [`load_weights`](Self::load_weights), from the content of the file.
    ///
    /// # Errors
    /// As [`load_weights`](Self::load_weights).
    pub fn load_weights_from_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.set_weights("weights", bytes)
    }

    /// As [`load_checkpoint`](Self::load_checkpoint), from the content of the file.
    ///
    /// # Errors
    /// As [`load_checkpoint`](Self::load_checkpoint).
    pub fn load_checkpoint_from_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.set_checkpoint("checkpoint", bytes)
    }

    /// Loads weights; `file` is for messages.
    fn set_weights(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let decode = || {
            let tensors = Tensors::decode(bytes)?;
            let values = values(&tensors, self.weights())?;
            let beside = MOMENTS.into_iter().chain([AVERAGE]);
            let beside =
                beside.flat_map(|(prefix, _)| self.tensors.iter().map(move |of| format!("{prefix}{}", of.name)));
            self.check_no_others(&tensors, beside.chain(NUMBERS.map(str::to_owned)))?;
            Ok(values)
        };
        let values = decode().map_err(|message| file_error(file, message))?;
        self.write_all(&values);
        self.begin_averages();
        Ok(())
    }

    /// Loads a checkpoint; `file` is for messages.
    fn set_checkpoint(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        let decode = || {
            let tensors = Tensors::decode(bytes)?;
            let values = values(&tensors, self.weights().chain(self.of_trained()))?;
            let [step, runs, seed] = NUMBERS.map(|name| tensors.number(name));
            let numbers = [step?, runs?, seed?];
            let beside = self.of_trained().map(|slot| slot.name);
            self.check_no_others(&tensors, beside.chain(NUMBERS.map(str::to_owned)))?;
            Ok((values, numbers))
        };
        let (values, numbers) = decode().map_err(|message| file_error(file, message))?;
        self.write_all(&values);
        self.continue_from(numbers);
        Ok(())
    }

    /// Parameters and states.
    fn weights(&self) -> impl Iterator<Item = Slot> {
        let slot = |(tensor, place): (&TensorInfo, &Span)| Slot {
            name: tensor.name.clone(),
            shape: tensor.shape,
            place: *place,
        };
        self.tensors.iter().zip(&self.layout.spans).map(slot)
    }

    /// Optimizer state and averages of the parameters that are trained.
    fn of_trained(&self) -> impl Iterator<Item = Slot> {
        let average = self.options.average.then_some(AVERAGE);
        let trained = self.tensors.iter().zip(&self.layout.spans).filter(|(tensor, _)| tensor.trained);
        trained.flat_map(move |(tensor, place)| {
            MOMENTS.into_iter().chain(average).map(move |(prefix, region)| Slot {
                name: format!("{prefix}{}", tensor.name),
                shape: tensor.shape,
                place: Span { region, ..*place },
            })
        })
    }

    fn tensors_at(&self, slots: impl Iterator<Item = Slot>) -> BTreeMap<String, Tensor> {
        let tensor = |slot: Slot| (slot.name, Tensor::of_floats(slot.shape.dims(), &self.fetch(slot.place)));
        slots.map(tensor).collect()
    }

    fn write_all(&mut self, values: &[(Span, Vec<B::Element>)]) {
        values.iter().for_each(|(place, values)| self.backend.write(&mut self.memory, *place, values));
    }

    /// # Errors
    /// If there is a tensor that is neither a parameter or state, nor one of those `beside` them, nor PyTorch's count
    /// of the batches that a running mean has seen.
    fn check_no_others(
        &self,
        tensors: &Tensors<'_>,
        beside: impl Iterator<Item = String>,
    ) -> std::result::Result<(), String> {
        let mut known: HashSet<String> = beside.collect();
        for tensor in &self.tensors {
            known.insert(tensor.name.clone());
            known.extend(tensor.name.strip_suffix("running_mean").map(|prefix| format!("{prefix}num_batches_tracked")));
        }
        match tensors.names().find(|name| !known.contains(*name)) {
            Some(other) => Err(format!("tensor `{other}` is left over: the session has none of this name")),
            None => Ok(()),
        }
    }
}

/// The values of the slots, which have not been written there yet.
///
/// # Errors
/// As [`Tensors::floats`].
fn values<E: Element>(
    tensors: &Tensors<'_>,
    slots: impl Iterator<Item = Slot>,
) -> std::result::Result<Vec<(Span, Vec<E>)>, String> {
    slots.map(|slot| Ok((slot.place, tensors.floats(&slot.name, slot.shape.dims())?))).collect()
}

fn encode(file: &str, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    tensor_file::encode(tensors).map_err(|message| file_error(file, message))
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    let error = |error| file_error(&path.display().to_string(), format!("cannot be written: {error}"));
    tensor_file::write(path, bytes).map_err(error)
}

/// The file's name in messages, and its content.
fn read(path: &Path) -> Result<(String, Vec<u8>)> {
    let file = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => Ok((file, bytes)),
        Err(error) => Err(file_error(&file, format!("cannot be read: {error}"))),
    }
}

fn file_error(file: &str, message: String) -> Error {
    Error::File { file: file.to_owned(), message }
}
