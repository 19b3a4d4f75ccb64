//! A checkpoint as a file: reading, writing, and its checksum.

use super::error::{CheckpointError, MAX_BYTES, Problem, VERSION};
use super::pickle::{PICKLE_BYTES, not_safetensors};
use crate::settings::{Settings, TrainingSettings};
use crate::system::files::{FileError, Staged};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const FORMAT: &str = "format";
pub(super) const FORMAT_VERSION: &str = "resconv.version";
const SETTINGS: &str = "resconv.settings";
pub(super) const POSITION: &str = "resconv.position";
const SHA256: &str = "resconv.sha256";

/// A checkpoint or a bare `state_dict`, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The file, for messages.
    pub path: PathBuf,
    /// Every tensor by its name, in PyTorch's layout.
    pub tensors: BTreeMap<String, Tensor>,
    /// The run that wrote it; absent in a `state_dict` of another program.
    pub run: Option<RunState>,
}

/// The run that wrote a checkpoint or weights, and how far it had come.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// The run's settings.
    pub settings: Settings,
    /// The position in the run at which it was written; absent in weights alone, which cannot be resumed.
    pub position: Option<Position>,
}

impl RunState {
    /// What weights say of a run with these settings.
    pub fn of_weights(settings: &Settings) -> RunState {
        RunState { settings: settings.without_places(), position: None }
    }
}

/// A position in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Training images seen.
    pub samples: u64,
    /// Seconds that the training steps took so far.
    pub seconds: f64,
    /// Steps, among those done, whose update was skipped because the loss or a gradient was not finite.
    #[serde(default)]
    pub skipped: u64,
    /// Images that smaller batches lacked, each of which was the last one until the run was lengthened.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// The backend that computed: `cpu-avx2`.
    pub backend: String,
}

impl Position {
    /// Steps that changed the weights and the running statistics.
    pub fn updates(&self) -> u64 {
        self.step.saturating_sub(self.skipped)
    }

    /// Whether a run with these settings reaches this position: but for images that are known to be missing, only its
    /// last step may have fewer.
    fn is_of(&self, training: &TrainingSettings) -> bool {
        let batch = training.batch.max(1) as u64;
        let samples = self.step.saturating_mul(batch).saturating_sub(self.missing).min(training.samples);
        let steps = samples.saturating_add(self.missing).div_ceil(batch);
        self.samples == samples && self.step == steps && self.skipped <= self.step
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Lengths of its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, the last dimension fastest.
    pub values: Values,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl Checkpoint {
    /// Reads the file `path` and checks all that can be checked without knowing the network.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file cannot be read, is damaged, or holds types other than F32, F64, F16, BF16 and
    /// I64.
    pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let mut file = File::open(path).map_err(FileError::at("open", path))?;
        let mut bytes = Vec::new();
        // A file that does not begin with the length of a header is not read to its end: it may be a device that never
        // ends.
        let begin = Read::by_ref(&mut file).take(8).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
        let header = bytes.as_chunks().0.first().map_or(0, |length| u64::from_le_bytes(*length));
        if begin < 8 || !(2..=MAX_BYTES).contains(&header) {
            let reason = format!("it begins with {bytes:02x?}, which is not the length of a header");
            file.take(PICKLE_BYTES - 8).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
            return Err(not_safetensors(path, &bytes, reason));
        }
        file.take(MAX_BYTES + 1 - 8).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Problem::TooLarge.of(path));
        }
        Checkpoint::from_bytes(path, &bytes)
    }

    /// As [`read`](Self::read), from the content of the file `path`, which is for messages only.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let corrupt = |reason: String| Problem::Corrupt(reason).of(path);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| not_safetensors(path, bytes, e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(numbers(view.data(), f32::from_le_bytes)),
                Dtype::F16 => Values::F32(numbers(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32())),
                Dtype::BF16 => Values::F32(numbers(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32())),
                Dtype::F64 => Values::F64(numbers(view.data(), f64::from_le_bytes)),
                Dtype::I64 => Values::I64(numbers(view.data(), i64::from_le_bytes)),
                other => {
                    let (expected, got) = ("F32, F64, F16, BF16 or I64", other.to_string());
                    return Err(Problem::Type { name: name.to_owned(), expected, got }.of(path));
                }
            };
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        let mut checkpoint = Checkpoint { path: path.to_owned(), tensors, run: None };
        let metadata = header.metadata().clone().unwrap_or_default();
        if let Some(got) = metadata.get(FORMAT_VERSION).filter(|version| *version != VERSION) {
            return Err(Problem::Version(got.clone()).of(path));
        }
        // Files of this program have the checksum. If one of its entries is missing, the others show that the file was
        // damaged.
        if [FORMAT_VERSION, SETTINGS, POSITION, SHA256].iter().any(|key| metadata.contains_key(*key)) {
            let missing = || corrupt(format!("no metadata entry `{SHA256}`"));
            let expected = metadata.get(SHA256).ok_or_else(missing)?;
            let got = checkpoint.checksum(&metadata);
            if *expected != got {
                return Err(Problem::Checksum { expected: expected.clone(), got }.of(path));
            }
        }
        checkpoint.run = run_state(path, &metadata)?;
        Ok(checkpoint)
    }

    /// The settings of the run that it can be resumed in, and its position there.
    ///
    /// # Errors
    /// [`Problem::NotResumable`] if it has only weights.
    pub fn resumable(&self) -> Result<(&Settings, &Position), CheckpointError> {
        let found = self.run.as_ref().and_then(|run| Some((&run.settings, run.position.as_ref()?)));
        found.ok_or_else(|| Problem::NotResumable.of(&self.path))
    }

    /// Writes it to its path, completely or not at all.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn write(&self) -> Result<(), CheckpointError> {
        Ok(self.stage()?.commit()?)
    }

    /// Writes it under a temporary name in the folder of its path.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn stage(&self) -> Result<Staged, CheckpointError> {
        let bytes = self.to_bytes()?;
        Ok(Staged::new(&self.path, |file| file.write_all(&bytes))?)
    }

    /// The first tensor that holds NaN or infinity.
    pub fn non_finite(&self) -> Option<&str> {
        let bad = |(_, tensor): &(&String, &Tensor)| match &tensor.values {
            Values::F32(values) => values.iter().any(|value| !value.is_finite()),
            Values::F64(values) => values.iter().any(|value| !value.is_finite()),
            Values::I64(_) => false,
        };
        self.tensors.iter().find(bad).map(|(name, _)| name.as_str())
    }

    /// The content of its file.
    ///
    /// # Errors
    /// [`Problem::Corrupt`] if the number of values of a tensor is not that of its shape.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let corrupt = |reason: String| Problem::Corrupt(reason).of(&self.path);
        let mut metadata = HashMap::from([(FORMAT.to_owned(), "pt".to_owned())]);
        metadata.insert(FORMAT_VERSION.to_owned(), VERSION.to_owned());
        if let Some(run) = &self.run {
            let json = |value: serde_json::Result<String>| value.map_err(|e| corrupt(e.to_string()));
            metadata.insert(SETTINGS.to_owned(), json(serde_json::to_string(&run.settings))?);
            if let Some(position) = &run.position {
                metadata.insert(POSITION.to_owned(), json(serde_json::to_string(position))?);
            }
        }
        metadata.insert(SHA256.to_owned(), self.checksum(&metadata));
        let mut bytes = safetensors::serialize(&self.tensors, Some(metadata)).map_err(|e| corrupt(e.to_string()))?;
        sort_metadata(&mut bytes).map_err(|e| corrupt(e.to_string()))?;
        Ok(bytes)
    }

    /// SHA-256 of the tensors.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.hash(&HashMap::new()).into()
    }

    /// The value of `resconv.sha256`.
    fn checksum(&self, metadata: &HashMap<String, String>) -> String {
        self.hash(metadata).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hash(&self, metadata: &HashMap<String, String>) -> sha2::digest::Output<Sha256> {
        let mut hash = Sha256::new();
        let text = |hash: &mut Sha256, text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for (name, tensor) in &self.tensors {
            text(&mut hash, name);
            text(&mut hash, &tensor.values.dtype().to_string());
            hash.update((tensor.shape.len() as u64).to_le_bytes());
            tensor.shape.iter().for_each(|&dim| hash.update((dim as u64).to_le_bytes()));
            hash.update(tensor.values.to_le_bytes());
        }
        let sorted: BTreeMap<_, _> = metadata.iter().filter(|(key, _)| *key != SHA256).collect();
        for (key, value) in sorted {
            text(&mut hash, key);
            text(&mut hash, value);
        }
        hash.finalize()
    }
}

/// Sorts the metadata of a safetensors file by their keys, so that the same content gives the same file. The library
/// writes them in the order of a hash table.
fn sort_metadata(bytes: &mut [u8]) -> serde_json::Result<()> {
    const BEFORE: &[u8] = br#"{"__metadata__":"#;
    let Some(after) = bytes.get_mut(8..).filter(|header| header.starts_with(BEFORE)) else { return Ok(()) };
    let after = &mut after[BEFORE.len()..];
    let mut objects = serde_json::Deserializer::from_slice(after).into_iter::<BTreeMap<String, String>>();
    let Some(metadata) = objects.next().transpose()? else { return Ok(()) };
    let length = objects.byte_offset();
    let sorted = serde_json::to_vec(&metadata)?;
    // The same texts in another order have the same length.
    debug_assert_eq!(sorted.len(), length);
    after[..length].copy_from_slice(&sorted);
    Ok(())
}

/// The run that the metadata describes, if it does.
pub(super) fn run_state(path: &Path, metadata: &HashMap<String, String>) -> Result<Option<RunState>, CheckpointError> {
    if !metadata.contains_key(SETTINGS) && !metadata.contains_key(POSITION) {
        return Ok(None);
    }
    let settings: Settings = from_json(path, metadata, SETTINGS)?;
    let position = metadata.contains_key(POSITION).then(|| from_json(path, metadata, POSITION)).transpose()?;
    if let Some(Position { step, samples, .. }) = position.as_ref().filter(|p: &&Position| !p.is_of(&settings.training))
    {
        let reason = format!("step {step} after {samples} images is not a position of a run with its settings");
        return Err(Problem::Corrupt(reason).of(path));
    }
    Ok(Some(RunState { settings, position }))
}

fn from_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    metadata: &HashMap<String, String>,
    key: &str,
) -> Result<T, CheckpointError> {
    let corrupt = |reason: String| Problem::Corrupt(reason).of(path);
    let text = metadata.get(key).ok_or_else(|| corrupt(format!("no metadata entry `{key}`")))?;
    serde_json::from_str(text).map_err(|e| corrupt(format!("metadata entry `{key}`: {e}")))
}

/// The little-endian numbers in `bytes`; safetensors has checked that they are whole.
fn numbers<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| from(*chunk)).collect()
}

impl Values {
    /// Their number.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dtype(&self) -> Dtype {
        match self {
            Values::F32(_) => Dtype::F32,
            Values::F64(_) => Dtype::F64,
            Values::I64(_) => Dtype::I64,
        }
    }

    fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Values::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

impl fmt::Display for Values {
    /// The type's name in safetensors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dtype().fmt(f)
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.values.dtype()
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.to_le_bytes())
    }
    fn data_len(&self) -> usize {
        self.values.len() * self.values.dtype().bitsize() / 8
    }
}
