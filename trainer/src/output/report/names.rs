//! How runs are called.

use std::path::Path;

/// The name of a run or of a folder of runs.
pub(super) fn name_of(folder: &Path) -> String {
    let absolute = || folder.canonicalize().ok();
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    name.or_else(|| Some(absolute()?.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| folder.display().to_string())
}
