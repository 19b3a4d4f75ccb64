//! Files that are either complete or absent: every output is written to a temporary file in the same folder, which is
//! then renamed.

use serde::de::DeserializeOwned;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// The end of the names of files that are not complete yet.
const TEMPORARY: &str = ".tmp";

/// Something could not be done with a file or folder. The message names the path and the reason.
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

    /// The content of the file `path` is wrong.
    pub(crate) fn content(path: &Path, reason: impl Into<Box<dyn Error + Send + Sync>>) -> FileError {
        FileError::at("use", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

/// Refuses to overwrite a file.
///
/// # Errors
/// [`FileExists`] if there is anything at `path`, even a broken link.
pub fn check_free(path: &Path) -> Result<(), FileExists> {
    if path.symlink_metadata().is_ok() { Err(FileExists(path.to_owned())) } else { Ok(()) }
}

/// A file exists that would be overwritten.
#[derive(Debug, thiserror::Error)]
#[error("{} exists: use --force to overwrite it, or another --out", .0.display())]
pub struct FileExists(
    /// The file.
    pub PathBuf,
);

/// Writes the file `path` by `write`, so that a reader sees, and a crash leaves, either the old content or the complete
/// new one.
///
/// The content goes to a temporary file in the same folder, which is flushed to the disk and then renamed. After an
/// error, `path` is unchanged, and the temporary file is removed.
///
/// # Errors
/// [`FileError`] if the folder does not exist or is not writable, the disk is full, `write` fails, or `path` is a
/// folder.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    Staged::new(path, write)?.commit()
}

/// Writes `content` as the file `path`, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_atomic(path, |file| file.write_all(content))
}

/// The text of the file `path`, if it has at most `limit` bytes. No more are read.
///
/// # Errors
/// [`FileError`] if it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = read_bytes(path, limit)?;
    let invalid = |error| FileError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error));
    String::from_utf8(bytes).map_err(|error| invalid(error.utf8_error()))
}

/// The content of the file `path`, if it has at most `limit` bytes. No more are read.
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

/// Writes a value, as JSON, as the file `path`, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`], or if it cannot be JSON.
pub(crate) fn write_json(path: &Path, json: serde_json::Result<String>) -> Result<(), FileError> {
    let json = json.map_err(io::Error::from).map_err(FileError::at("write", path))?;
    write_bytes(path, format!("{json}\n").as_bytes())
}

/// The value in the JSON file `path`, if it has at most `limit` bytes.
///
/// # Errors
/// [`FileError`] if the file cannot be read, is longer, or is not such a value.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T, FileError> {
    serde_json::from_str(&read_text(path, limit)?).map_err(io::Error::from).map_err(FileError::at("use", path))
}

/// A file that is written and flushed to the disk, under a temporary name in the folder where it is going to be.
///
/// Without [`commit`](Self::commit), dropping it removes the file. If the process is killed, the file stays, under a
/// name that begins with a dot and ends with `.tmp`, until [`remove_leftovers`].
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl Staged {
    /// Writes the content of the file `path` by `write`.
    ///
    /// # Errors
    /// As [`write_atomic`].
    pub fn new(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Staged, FileError> {
        let temporary = stage(path, write).map_err(FileError::at("write", path))?;
        Ok(Staged { path: path.to_owned(), temporary })
    }

    /// Renames it to its path.
    ///
    /// # Errors
    /// [`FileError`] if the path is a folder, or the disk fails.
    pub fn commit(self) -> Result<(), FileError> {
        let Staged { path, temporary } = self;
        let commit = || {
            temporary.persist(&path).map_err(|error| error.error)?;
            sync_folder(folder_of(&path))
        };
        commit().map_err(FileError::at("write", &path))
    }
}

fn stage(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<NamedTempFile> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY);
    // A temporary file is private by default. The result must have the rights of any other new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.tempfile_in(folder_of(path))?;
    let mut buffered = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether a file of this name was left by a process that was killed while it wrote.
pub fn is_leftover(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(TEMPORARY))
}

/// Removes the files that killed processes left in `folder`. No other process may write to it at the same time.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::at("look into", folder))? {
        let entry = entry.map_err(FileError::at("look into", folder))?;
        if is_leftover(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the file `path`, if it is there.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Gives the file `from` a second name, replacing what is at `to`: `from` stays there at every moment, for its readers.
/// A file system without hard links makes that impossible; there it is renamed.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn keep_as(from: &Path, to: &Path) -> Result<(), FileError> {
    remove(to)?;
    fs::hard_link(from, to).or_else(|_| fs::rename(from, to)).map_err(FileError::at("keep", from))
}

/// Renames a file, replacing what is at `to`.
///
/// # Errors
/// [`FileError`] if that is not allowed.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at("rename", from))
}

/// Makes a renaming survive a loss of power. Only Unix can open folders, and some of its file systems cannot flush
/// them.
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

/// Creates the folder `path` and its parents, unless they exist.
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

    #[test]
    fn what_is_not_committed_leaves_nothing_and_what_was_killed_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        write_bytes(&path, b"old").unwrap();
        let staged = Staged::new(&path, |file| file.write_all(b"new")).unwrap();
        let killed = names(folder.path()).into_iter().find(|name| name.ends_with(".tmp")).unwrap();
        assert!(is_leftover(OsStr::new(&killed)), "{killed}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(staged);
        assert_eq!(names(folder.path()), ["checkpoint.safetensors"]);

        fs::write(folder.path().join(&killed), b"half").unwrap();
        fs::write(folder.path().join("mine.tmp"), b"mine").unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["checkpoint.safetensors", "mine.tmp"]);
        Staged::new(&path, |file| file.write_all(b"new")).unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap(), "12345");
        let message = read_text(&path, 4).unwrap_err().to_string();
        assert!(message.contains("my.toml: longer than 4 bytes"), "{message}");
        fs::write(&path, b"\xff").unwrap();
        let message = read_text(&path, 4).unwrap_err().to_string();
        assert!(message.contains("my.toml: invalid utf-8"), "{message}");
        #[cfg(target_os = "linux")]
        assert!(read_bytes(Path::new("/dev/zero"), 1 << 10).unwrap_err().to_string().contains("longer than 1024"));
    }

    #[test]
    fn a_file_that_is_kept_outlives_what_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let (newest, kept) = (folder.path().join("checkpoint"), folder.path().join("checkpoint-1"));
        write_bytes(&kept, b"what a killed process left").unwrap();
        write_bytes(&newest, b"first").unwrap();
        keep_as(&newest, &kept).unwrap();
        assert_eq!((fs::read(&newest).unwrap(), fs::read(&kept).unwrap()), (b"first".to_vec(), b"first".to_vec()));
        write_bytes(&newest, b"second").unwrap();
        assert_eq!((fs::read(&newest).unwrap(), fs::read(&kept).unwrap()), (b"second".to_vec(), b"first".to_vec()));
        let message = keep_as(&folder.path().join("none"), &kept).unwrap_err().to_string();
        assert!(message.starts_with("could not keep "), "{message}");
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
