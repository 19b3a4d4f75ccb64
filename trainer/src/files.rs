//! Files that are either whole or absent: every output is written beside its place and renamed into it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Something could not be done with a file or folder. The message names the path and the system's reason.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: {cause}", path.display())]
pub struct FileError {
    /// What was tried, as a verb: `create`, `read`, `write`.
    pub action: &'static str,
    /// The file or folder that it was tried on.
    pub path: PathBuf,
    /// The reason.
    pub cause: io::Error,
}

impl FileError {
    /// For `map_err`: the error of doing `action` with `path`.
    pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |cause| FileError { action, path: path.to_owned(), cause }
    }
}

/// Writes the file `path` by `write`, so that a reader, or a crash, sees the old content or the whole new one.
///
/// The content goes to a temporary file in the same folder, which is flushed to the disk and then renamed; after an error, whatever
/// was at `path` is as it was, and the temporary file is gone.
///
/// # Errors
/// [`FileError`] if the folder does not exist or is not writable, the disk is full, `write` fails, or `path` is a folder.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    write_and_rename(path, write).map_err(FileError::at("write", path))
}

/// Writes `content` as the file `path`, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_atomic(path, |file| file.write_all(content))
}

/// The text of the file `path`, if it has at most `limit` bytes; nothing more is read.
///
/// # Errors
/// [`FileError`] if it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = read_bytes(path, limit)?;
    let invalid = |error| FileError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error));
    String::from_utf8(bytes).map_err(|error| invalid(error.utf8_error()))
}

/// The content of the file `path`, if it has at most `limit` bytes; nothing more is read.
///
/// # Errors
/// [`FileError`] if it cannot be read, or is longer.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let reason = format!("longer than {limit} bytes, which it cannot be");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        Ok(bytes)
    };
    read().map_err(FileError::at("read", path))
}

fn write_and_rename(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    // A temporary file is private by default; the result is to have the rights of any other new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Makes the renaming itself durable. Only Unix can open folders, and some of its file systems cannot flush them.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        match File::open(folder)?.sync_all() {
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    } else {
        Ok(())
    }
}

/// Makes the folder `path`, and those that it lies in, where they do not exist.
///
/// # Errors
/// [`FileError`] if that is not allowed, or a file is in the way.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::at("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_content_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        write_bytes(&path, b"first, and longer").unwrap();
        write_bytes(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["metrics.csv"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_bytes(&path, b"old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(&vec![7; 1 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("could not write ") && message.contains("model.safetensors: "), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["model.safetensors"]);
    }

    #[test]
    fn a_folder_in_the_way_and_a_missing_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/file"), PathBuf::from("/"), PathBuf::from("..")]
        {
            let message = write_bytes(&path, b"x").unwrap_err().to_string();
            assert!(message.starts_with(&format!("could not write {}: ", path.display())), "{message}");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn the_result_has_the_rights_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_bytes(&ours, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_folder_is_made_with_its_parents_and_may_exist() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        create_folder(&deep).unwrap();
        create_folder(&deep).unwrap();
        write_bytes(&deep.join("file"), b"x").unwrap();
        let message = create_folder(&deep.join("file/c")).unwrap_err().to_string();
        assert!(message.starts_with("could not create "), "{message}");
    }
}
