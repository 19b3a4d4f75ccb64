//! Checkpoints: safetensors files with PyTorch's names and layouts.
//!
//! | tensor | type | meaning |
//! | --- | --- | --- |
//! | `encoder.layer_1.conv.weight`, ... | F32, or F64 from the reference device | the network's `state_dict`; convolution weights are `[K,C,R,S]` |
//! | `encoder.layer_1.bn.num_batches_tracked`, ... | I64, no dimensions | training steps of the network |
//! | `optimizer.exp_avg.NAME`, `optimizer.exp_avg_sq.NAME` | as the weight | AdamW's first and second moment of the parameter NAME |
//!
//! The metadata, all strings: `format` is `pt`, as PyTorch's own files have it; `resconv.version` is the version of this format;
//! `resconv.settings` holds the run's [`Settings`] and `resconv.position` its [`Position`], both as JSON; `resconv.sha256` is the
//! SHA-256, in hexadecimal, over every tensor in order of name (name, type, shape, bytes), and then over every other entry of the
//! metadata in order of key; texts and shapes are preceded by their lengths, and all numbers are little-endian 64-bit ones.
//!
//! A file without the optimizer's tensors and the metadata is a bare `state_dict`, as `safetensors.torch.save_file` writes it:
//! it can be evaluated and trained on, but not resumed. The other way round, `load_state_dict(..., strict=False)` takes a checkpoint.

mod architecture;
mod state;
#[cfg(test)]
mod tests;

pub use architecture::Architecture;
pub use state::{load_optimizer, load_weights, optimizer_state, state_dict};

use crate::files::{self, FileError};
use crate::settings::Settings;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Version of the format that this build writes and reads.
const VERSION: &str = "1";

/// Largest file that is read, in bytes. The deepest networks that the settings allow stay below it by far.
const MAX_BYTES: u64 = 8 << 30;

const FORMAT: &str = "format";
const FORMAT_VERSION: &str = "resconv.version";
const SETTINGS: &str = "resconv.settings";
const POSITION: &str = "resconv.position";
const SHA256: &str = "resconv.sha256";

/// A checkpoint or a bare `state_dict`, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The file, for messages.
    pub path: PathBuf,
    /// Every tensor by its name, in PyTorch's layout.
    pub tensors: BTreeMap<String, Tensor>,
    /// The run that wrote it; absent in a bare `state_dict`.
    pub run: Option<RunState>,
}

/// What a checkpoint knows of its run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// The run's settings.
    pub settings: Settings,
    /// Where in the run it was written.
    pub position: Position,
}

/// A place in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Training images seen.
    pub samples: u64,
    /// Seconds that the training steps took so far.
    pub seconds: f64,
    /// The backend that computed: `cpu-avx2`.
    pub backend: String,
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

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is too large to be one.
    #[error("{}: too large for a checkpoint: more than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no safetensors file, or a damaged one.
    #[error("{}: not a valid safetensors file: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The checksum does not match: the content was changed after it was written.
    #[error("{}: the content is damaged: its SHA-256 is {got}, the file says {expected}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// In the file.
        expected: String,
        /// Of the content.
        got: String,
    },
    /// Another version of this program wrote it.
    #[error("{}: checkpoint format version {got}, this build reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: String,
    },
    /// A tensor that the network has is absent.
    #[error("{}: no tensor `{name}` of shape {expected:?}: this is a checkpoint of another network", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the network, in PyTorch's layout.
        expected: Vec<usize>,
    },
    /// A tensor that the network has not.
    #[error("{}: the network has no tensor `{name}`: this is a checkpoint of another network", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape.
    #[error("{}: tensor `{name}`: expected shape {expected:?}, got {got:?}: this is a checkpoint of another network", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the network, in PyTorch's layout.
        expected: Vec<usize>,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("{}: tensor `{name}`: expected type {expected}, got {got}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The types that can be read.
        expected: &'static str,
        /// The type in the file.
        got: String,
    },
    /// It has weights only.
    #[error("{}: weights only, without the optimizer's state: it cannot be resumed; begin a new run with --init", path.display())]
    NotResumable {
        /// The file.
        path: PathBuf,
    },
    /// The tensors are not those of a residual encoder and decoder.
    #[error("{}: not a network of this program: {reason}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What is missing or contradictory.
        reason: String,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

impl Checkpoint {
    /// Reads the file `path` and checks all that can be checked without knowing the network.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file cannot be read, is damaged, or holds types other than F32, F64 and I64.
    pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        let file = File::open(path).map_err(FileError::at("open", path))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(CheckpointError::TooLarge { path: path.to_owned() });
        }
        Checkpoint::from_bytes(path, &bytes)
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let corrupt = |reason: String| CheckpointError::Corrupt { path: path.to_owned(), reason };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| corrupt(e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(numbers(view.data(), f32::from_le_bytes)),
                Dtype::F64 => Values::F64(numbers(view.data(), f64::from_le_bytes)),
                Dtype::I64 => Values::I64(numbers(view.data(), i64::from_le_bytes)),
                other => {
                    return Err(CheckpointError::Type {
                        path: path.to_owned(),
                        name: name.to_owned(),
                        expected: "F32, F64 or I64",
                        got: other.to_string(),
                    });
                }
            };
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        let mut checkpoint = Checkpoint { path: path.to_owned(), tensors, run: None };
        let metadata = header.metadata().clone().unwrap_or_default();
        if let Some(expected) = metadata.get(SHA256) {
            let got = checkpoint.checksum(&metadata);
            if *expected != got {
                return Err(CheckpointError::Checksum { path: path.to_owned(), expected: expected.clone(), got });
            }
        }
        checkpoint.run = run_state(path, &metadata)?;
        Ok(checkpoint)
    }

    /// Writes it to its path; whole or not at all.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn write(&self) -> Result<(), CheckpointError> {
        let bytes = self.to_bytes()?;
        Ok(files::write_bytes(&self.path, &bytes)?)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let corrupt = |reason: String| CheckpointError::Corrupt { path: self.path.clone(), reason };
        let mut metadata = HashMap::from([(FORMAT.to_owned(), "pt".to_owned())]);
        if let Some(run) = &self.run {
            let json = |value: serde_json::Result<String>| value.map_err(|e| corrupt(e.to_string()));
            metadata.insert(FORMAT_VERSION.to_owned(), VERSION.to_owned());
            metadata.insert(SETTINGS.to_owned(), json(serde_json::to_string(&run.settings))?);
            metadata.insert(POSITION.to_owned(), json(serde_json::to_string(&run.position))?);
            metadata.insert(SHA256.to_owned(), self.checksum(&metadata));
        }
        safetensors::serialize(&self.tensors, Some(metadata)).map_err(|e| corrupt(e.to_string()))
    }

    /// What `resconv.sha256` is to say.
    fn checksum(&self, metadata: &HashMap<String, String>) -> String {
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
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The run that the metadata describes, if it does.
fn run_state(path: &Path, metadata: &HashMap<String, String>) -> Result<Option<RunState>, CheckpointError> {
    let Some(version) = metadata.get(FORMAT_VERSION) else { return Ok(None) };
    if version != VERSION {
        return Err(CheckpointError::Version { path: path.to_owned(), got: version.clone() });
    }
    Ok(Some(RunState {
        settings: from_json(path, metadata, SETTINGS)?,
        position: from_json(path, metadata, POSITION)?,
    }))
}

fn from_json<T: serde::de::DeserializeOwned>(
    path: &Path,
    metadata: &HashMap<String, String>,
    key: &str,
) -> Result<T, CheckpointError> {
    let corrupt = |reason: String| CheckpointError::Corrupt { path: path.to_owned(), reason };
    let text = metadata.get(key).ok_or_else(|| corrupt(format!("no metadata entry `{key}`")))?;
    serde_json::from_str(text).map_err(|e| corrupt(format!("metadata entry `{key}`: {e}")))
}

/// The little-endian numbers in `bytes`; safetensors has checked that they are whole.
fn numbers<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| from(*chunk)).collect()
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
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
