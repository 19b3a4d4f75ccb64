//! A safetensors file of tensors in PyTorch's layouts, with a checksum.

use crate::pytorch;
use half::{bf16, f16};
use kernels::Element;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The metadata entry of the checksum: 16 hexadecimal digits.
const CHECKSUM: &str = "engine.checksum";

/// A tensor to be written.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its elements, little-endian.
    bytes: Vec<u8>,
}

impl Tensor {
    /// The tensor of shape `dims` in the engine: F32, or F64 if that is the backend's element.
    pub(super) fn of_floats<E: Element>(dims: &[usize], values: &[E]) -> Tensor {
        let values = pytorch::weight_to_pytorch(dims, values).into_iter().map(E::to_f64);
        let (dtype, bytes) = if size_of::<E>() == size_of::<f64>() {
            (Dtype::F64, values.flat_map(f64::to_le_bytes).collect())
        } else {
            (Dtype::F32, values.flat_map(|x| (x as f32).to_le_bytes()).collect())
        };
        Tensor { dtype, shape: pytorch::weight_shape(dims), bytes }
    }

    /// A whole number.
    pub(super) fn of_number(number: u64) -> Tensor {
        Tensor { dtype: Dtype::U64, shape: Vec::new(), bytes: number.to_le_bytes().to_vec() }
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The content of a file of these tensors. The same tensors give the same bytes.
///
/// # Errors
/// If the names are too long for the format.
pub(super) fn encode(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    let parts = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype, &*tensor.shape, &*tensor.bytes));
    let metadata = HashMap::from([(CHECKSUM.to_owned(), checksum(parts))]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| error.to_string())
}

/// The tensors of a file.
pub(super) struct Tensors<'a> {
    by_name: BTreeMap<String, TensorView<'a>>,
}

impl<'a> Tensors<'a> {
    /// Reads the content of a file. A checksum, which files of other programs do not have, must be right.
    ///
    /// # Errors
    /// If it is not a safetensors file, or damaged.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Tensors<'a>, String> {
        let wrong = |error: safetensors::SafeTensorError| format!("not a whole safetensors file: {error}");
        let by_name: BTreeMap<_, _> = SafeTensors::deserialize(bytes).map_err(wrong)?.tensors().into_iter().collect();
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
        if let Some(expected) = header.metadata().as_ref().and_then(|entries| entries.get(CHECKSUM)) {
            let parts = by_name.iter().map(|(name, view)| (name.as_str(), view.dtype(), view.shape(), view.data()));
            let got = checksum(parts);
            if got != *expected {
                return Err(format!("damaged: its checksum is {got}, expected {expected}"));
            }
        }
        Ok(Tensors { by_name })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The elements, in the engine's layout, of the tensor that has shape `dims` in the engine.
    ///
    /// # Errors
    /// If it is missing, or has another shape or no floating-point numbers.
    pub(super) fn floats<E: Element>(&self, name: &str, dims: &[usize]) -> Result<Vec<E>, String> {
        let view = self.view(name, &pytorch::weight_shape(dims))?;
        let values = match view.dtype() {
            Dtype::F16 => numbers(view.data(), |bytes| f16::from_le_bytes(bytes).to_f64()),
            Dtype::BF16 => numbers(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f64()),
            Dtype::F32 => numbers(view.data(), |bytes| f64::from(f32::from_le_bytes(bytes))),
            Dtype::F64 => numbers(view.data(), f64::from_le_bytes),
            other => return Err(format!("tensor `{name}` is {other}, expected F16, BF16, F32 or F64")),
        };
        let values: Vec<E> = values.into_iter().map(E::from_f64).collect();
        Ok(pytorch::weight_from_pytorch(dims, &values))
    }

    /// A whole number.
    ///
    /// # Errors
    /// If it is missing, or something else.
    pub(super) fn number(&self, name: &str) -> Result<u64, String> {
        let view = self.view(name, &[])?;
        match (view.dtype(), view.data().try_into()) {
            (Dtype::U64, Ok(bytes)) => Ok(u64::from_le_bytes(bytes)),
            (other, _) => Err(format!("tensor `{name}` is {other}, expected U64")),
        }
    }

    fn view(&self, name: &str, expected: &[usize]) -> Result<&TensorView<'a>, String> {
        let view = self.by_name.get(name).ok_or_else(|| format!("no tensor `{name}`, expected shape {expected:?}"))?;
        match view.shape() {
            got if got == expected => Ok(view),
            got => Err(format!("tensor `{name}` has shape {got:?}, expected {expected:?}")),
        }
    }
}

/// The little-endian numbers in `bytes`; safetensors has checked that they are whole.
fn numbers<const N: usize>(bytes: &[u8], from: fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|chunk| from(*chunk)).collect()
}

/// FNV-1a (Fowler, Noll & Vo) of 64 bits over every tensor in order of name: any one changed byte changes it.
fn checksum<'a>(tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        bytes.iter().for_each(|&byte| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    };
    for (name, dtype, shape, bytes) in tensors {
        // Shape and type say where the bytes end.
        add(format!("{name}\n{dtype}\n{shape:?}\n").as_bytes());
        add(bytes);
    }
    format!("{hash:016x}")
}

/// Writes a file whole or not at all: beside its place, flushed to the disk, and renamed. A link stays a link to the
/// file that is replaced, and the rights of that file stay.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = match fs::metadata(path) {
        Ok(before) if !before.is_file() => return Err(io::Error::other("it is not a file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        before => before.ok(),
    };
    let path = &*if before.is_some() { Cow::Owned(path.canonicalize()?) } else { Cow::Borrowed(path) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tensors-").suffix(".tmp");
    // Opened as any other new file, so that it has the rights of one. By `tempfile_in` it would be private on Unix, and
    // marked as temporary on Windows, also after it is renamed.
    let mut file = builder.make_in(folder, |path| File::create_new(path))?;
    if let Some(before) = before {
        file.as_file().set_permissions(before.permissions())?;
    }
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    // Not by the crate's `persist`, which on Windows fails for long paths and while others read the old file.
    let mut temporary = file.into_temp_path();
    fs::rename(&temporary, path)?;
    temporary.disable_cleanup(true);
    // Only on Unix can a folder be flushed, and not on every file system.
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}
