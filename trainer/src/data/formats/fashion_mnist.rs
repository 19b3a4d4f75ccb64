//! Fashion-MNIST, in its four files with their published checksums.

use super::{Data, DataRequest, FolderFormat};
use crate::data::error::DataError;
use crate::data::idx::Problem;
use crate::data::known::{FILES, missing};
use crate::data::load::load;
use crate::data::patches::Fit;
use std::path::Path;

/// The folder that `--data` names.
pub(super) struct FashionMnistFolder;

impl FolderFormat for FashionMnistFolder {
    fn files(&self) -> String {
        FILES.map(|file| format!("{}[.gz]", file.name)).join(", ")
    }

    fn is_in(&self, folder: &Path) -> bool {
        missing(folder).is_empty()
    }

    fn read(&self, _folder: &Path, request: &DataRequest, status: &dyn Fn(&str)) -> Result<Data, DataError> {
        open(request, status)
    }
}

/// The dataset, wherever it is.
pub(super) fn open(request: &DataRequest, status: &dyn Fn(&str)) -> Result<Data, DataError> {
    let data = load(&request.search, status).map_err(|error| with_advice(error, request))?;
    Ok(Data {
        train: data.train,
        validation: data.validation,
        fit: request.fit.unwrap_or(Fit::Resize),
        description: data.folder.to_string(),
        is_fashion_mnist: !request.search.unverified,
    })
}

/// The error with what to do if the user named the folder of another dataset, whose files have the same names.
pub(in crate::data) fn with_advice(error: DataError, request: &DataRequest) -> DataError {
    let is_other = match &error {
        DataError::Checksum { .. } => true,
        DataError::Idx(idx) => matches!(idx.problem, Problem::Dimensions { .. }),
        _ => false,
    };
    if is_other && request.search.argument.is_some() { DataError::OtherDataset(Box::new(error)) } else { error }
}
